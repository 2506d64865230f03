"""What users may rely on: a change here is a change of the public interface, and should be meant."""

import inspect
import subprocess
import sys

import pytest

import tinyconv as tc

TOP = {
    "Function", "Input", "Model", "ModelWarning", "Sequential", "Tensor", "activations", "applications",
    "callbacks", "check_model", "config", "constraints", "datasets", "device", "diagnose", "diagnosis",
    "enable_grad", "grad", "initializers", "interop", "is_grad_enabled", "layers", "load_model", "losses",
    "metrics", "models", "no_grad", "ops", "optimizers", "preprocessing", "random", "registry", "regularizers",
    "schedules", "set_seed", "stop_gradient", "testing", "utils", "vision", "viz", "wrappers",
}  # fmt: skip

WITHIN = {
    "applications": """
        AlexNet GoogLeNet InceptionV3 LeNet LeNet5 MiniVGGNet MobileNet MobileNetV2 ResNet101 ResNet152 ResNet18
        ResNet34 ResNet50 SEResNet50 ShallowNet SqueezeNet VGG16 VGG19 Xception imagenet_utils resnet50 vgg16""",
    "callbacks": """
        BackupAndRestore BaseLogger CSVLogger Callback EarlyStopping History LambdaCallback LearningRateFinder
        LearningRateScheduler ModelCheckpoint ProgressBar ReduceLROnPlateau ScheduleCallback TensorBoard TerminateOnNaN
        TrainingMonitor find_learning_rate""",
    "config": "epsilon floatx image_data_format set_epsilon set_floatx set_image_data_format",
    "constraints": "get",
    "datasets": """
        LabelBinarizer LabelEncoder animals california_housing captchas cifar10 cifar100 class_weights fashion_mnist
        fetch mnist smiles status to_categorical train_test_split""",
    "diagnosis": "Diagnosis Finding ModelWarning check_model diagnose",
    "initializers": """
        Constant GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal LecunUniform Ones RandomNormal RandomUniform
        TruncatedNormal Zeros get""",
    "interop": "from_keras_config load_keras to_keras_config",
    "layers": """
        AdaptiveAveragePooling2D AdaptiveMaxPooling2D AlphaDropout AveragePooling3D CenterCrop Conv1DTranspose Conv3D
        Conv3DTranspose Cropping3D DepthwiseConv1D GlobalAveragePooling3D GlobalMaxPooling3D Identity InceptionModule
        LocallyConnected1D MaxPooling3D Normalization RMSNormalization RandomBrightness RandomContrast RandomCrop
        RandomFlip RandomRotation RandomTranslation RandomZoom Rescaling ResidualUnit Resizing SeparableConv1D
        SpatialDropout1D SpatialDropout3D SqueezeExcite UpSampling3D ZeroPadding3D
        Activation Add AveragePooling2D AvgPool2D BatchNormalization Concatenate Conv2D Conv2DTranspose Dense
        DepthwiseConv2D Dropout ELU Flatten GlobalAveragePooling2D GlobalAvgPool2D GlobalMaxPooling2D Input InputLayer
        Lambda Layer LeakyReLU LocalResponseNormalization MaxPool2D MaxPooling2D Multiply ReLU Reshape SELU
        SeparableConv2D Softmax ZeroPadding2D deserialize get""",
    "losses": """
        BinaryFocalCrossentropy CategoricalFocalCrossentropy ContrastiveLoss CosineSimilarity InfoNCE KLDivergence
        TripletLoss
        BinaryCrossentropy CategoricalCrossentropy Hinge Huber Loss MeanAbsoluteError MeanSquaredError
        SparseCategoricalCrossentropy binary_crossentropy categorical_crossentropy get hinge huber mean_absolute_error
        mean_squared_error sparse_categorical_crossentropy""",
    "metrics": """
        AUC BalancedAccuracy CohenKappa ConfusionMatrix F1Score MatthewsCorrelation MeanIoU Precision R2Score Recall
        Specificity TopKCategoricalAccuracy
        Accuracy BinaryAccuracy CategoricalAccuracy Mean Metric SparseCategoricalAccuracy classification_report get""",
    "models": "Functional Model Sequential clone_model load_model model_from_config model_from_json save_model",
    "ops": """
        adaptive_avg_pool adaptive_max_pool affine_transform avg_pool3d conv3d conv3d_transpose max_pool3d
        random_uniform resize sample_images
        abs avg_pool2d batch_norm clip concatenate conv2d conv2d_transpose exp log matmul max max_pool2d mean relu
        reshape sigmoid softmax sqrt sum tanh where""",
    "optimizers": "Adadelta Adagrad Adam AdamW Adamax Ftrl Lion Nadam Optimizer RMSprop SGD get",
    "preprocessing": """
        AspectAwarePreprocessor ImageDataGenerator ImageToArrayPreprocessor SimpleDatasetLoader SimplePreprocessor
        array_to_img image image_dataset_from_directory img_to_array list_images load_img prefetch rescale_intensity
        resize save_img sort_contours""",
    "registry": "custom_objects register",
    "regularizers": "L1 L2 get",
    "schedules": """
        CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay LinearWarmup OneCycle PiecewiseConstantDecay
        PolynomialDecay StepDecay""",
    "testing": "check_gradients",
    "utils": """PyDataset Sequence array_to_img image_dataset_from_directory img_to_array load_img normalize plot_model
        save_img set_random_seed to_categorical""",
    "viz": """
        feature_maps grad_cam plot_activations plot_confusion_matrix plot_filters plot_grad_cam plot_history plot_images
        plot_model plot_saliency plot_top_patches receptive_field saliency save show to_dot top_patches""",
    "wrappers": "KerasClassifier KerasRegressor TinyConvClassifier TinyConvRegressor",
}

FIT = [
    "self", "x", "y", "batch_size", "epochs", "verbose", "callbacks", "validation_split", "validation_data", "shuffle",
    "class_weight", "sample_weight", "initial_epoch", "steps_per_epoch", "validation_steps", "validation_batch_size",
    "validation_freq",
]  # fmt: skip

SIGNATURES = {  # order and names as in Keras 3
    "compile": [
        "self", "optimizer", "loss", "metrics", "loss_weights", "weighted_metrics", "run_eagerly", "jit_compile",
    ],
    "fit": FIT,
    "evaluate": ["self", "x", "y", "batch_size", "verbose", "sample_weight", "steps", "callbacks", "return_dict"],
    "predict": ["self", "x", "batch_size", "verbose", "steps", "callbacks"],
    "train_on_batch": ["self", "x", "y", "sample_weight", "class_weight", "return_dict"],
    "test_on_batch": ["self", "x", "y", "sample_weight", "return_dict"],
    "predict_on_batch": ["self", "x"],
    "fit_generator": ["self", "generator", "steps_per_epoch", "epochs", "options"],
    "evaluate_generator": ["self", "generator", "steps", "options"],
    "predict_generator": ["self", "generator", "steps", "options"],
    "save": ["self", "filepath", "overwrite"],
    "save_weights": ["self", "filepath", "overwrite"],
    "load_weights": ["self", "filepath", "skip_mismatch", "by_name"],
    "get_layer": ["self", "name", "index"],
    "summary": ["self", "line_length", "print_fn", "expand_nested", "show_trainable", "layer_range"],
    "get_weights": ["self"],
    "set_weights": ["self", "weights"],
    "count_params": ["self"],
    "build": ["self", "input_shape"],
    "train_step": ["self", "data"],
    "test_step": ["self", "data"],
    "predict_step": ["self", "data"],
}

PROPERTIES = [
    "input_shape", "inputs", "layers", "losses", "metrics_names", "non_trainable_weights", "output_shape", "outputs",
    "trainable", "trainable_weights", "variables", "weights",
]  # fmt: skip


def test_top_level():
    assert set(tc.__all__) == TOP
    assert len(tc.__all__) == len(TOP)
    for name in TOP:
        assert getattr(tc, name) is not None
    assert set(dir(tc)) >= TOP
    with pytest.raises(AttributeError, match="no attribute 'sequential'"):
        _ = tc.sequential


@pytest.mark.parametrize("module", WITHIN)
def test_modules(module):
    missing = [name for name in WITHIN[module].split() if not hasattr(getattr(tc, module), name)]
    assert missing == []


@pytest.mark.parametrize("method", SIGNATURES)
def test_methods_of_models(method):
    for cls in (tc.Model, tc.Sequential):
        assert list(inspect.signature(getattr(cls, method)).parameters) == SIGNATURES[method]


def test_properties_of_models():
    assert [name for name in PROPERTIES if not hasattr(tc.Sequential, name)] == []


def test_defaults_that_programs_rest_on():
    fit = {name: p.default for name, p in inspect.signature(tc.Model.fit).parameters.items()}
    assert (fit["epochs"], fit["shuffle"], fit["verbose"], fit["batch_size"]) == (1, True, "auto", None)
    sgd, adam = tc.optimizers.SGD(), tc.optimizers.Adam()
    assert (sgd.learning_rate, sgd.momentum, sgd.nesterov, sgd.decay) == (0.01, 0.0, False, 0.0)
    assert (adam.learning_rate, adam.beta_1, adam.beta_2) == (0.001, 0.9, 0.999)
    norm = tc.layers.BatchNormalization()
    assert (norm.momentum, norm.epsilon) == (0.99, 1e-3)
    conv = tc.layers.Conv2D(1, 3)
    assert (conv.padding, conv.strides, repr(conv.kernel_initializer)) == ("valid", (1, 1), "GlorotUniform()")


def test_the_public_parts_have_docstrings():
    bare = [
        f"{module}.{name}"
        for module, names in WITHIN.items()
        for name in names.split()
        if not inspect.getdoc(getattr(getattr(tc, module), name))
    ]
    bare += [f"Model.{name}" for name in (*SIGNATURES, *PROPERTIES) if not inspect.getdoc(getattr(tc.Sequential, name))]
    assert bare == []


def test_importing_is_light():
    """Nothing is compiled, and no plotting, vision or kernel library is imported before it is needed."""
    program = "import sys, tinyconv; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    heavy = {"numba", "llvmlite", "matplotlib", "cv2", "scipy", "safetensors", "tqdm", "cupy", "sklearn"}
    assert not heavy & set(done.stdout.split())
