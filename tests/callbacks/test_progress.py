"""What is shown: a bar that moves in a terminal, the same lines of results everywhere."""

import os
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.callbacks.progress import announce

X, Y = np.random.default_rng(0).normal(size=(10, 3)), np.eye(2)[[0, 1] * 5]

NUMBER = r"\d+\.\d{4}"
RESULTS = rf"\d+s - loss: {NUMBER} - acc: {NUMBER}"
BOTH = rf"{RESULTS} - val_loss: {NUMBER} - val_acc: {NUMBER}"


@pytest.fixture
def model():
    made = tc.Sequential([tc.layers.Dense(2, activation="softmax", input_shape=(3,))])
    made.compile("sgd", "categorical_crossentropy", ["acc"])
    return made


@pytest.mark.parametrize("verbose", ["auto", 1, 2, True])
def test_the_console_format(model, capsys, verbose):
    model.fit(X, Y, epochs=2, validation_split=0.2, verbose=verbose)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Train on 8 samples, validate on 2 samples"
    assert lines[1::2] == ["Epoch 1/2", "Epoch 2/2"]
    assert len(lines) == 5
    for line in lines[2::2]:
        assert re.fullmatch(BOTH, line)


def test_without_validation_and_without_a_known_number_of_samples(model, capsys):
    model.fit(X, Y, epochs=4, initial_epoch=3)
    model.fit([(X, Y)])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "loss" not in line] == ["Train on 10 samples", "Epoch 4/4", "Epoch 1/1"]
    assert all(re.fullmatch(RESULTS, line) for line in lines if "loss" in line)


@pytest.mark.parametrize("verbose", [0, False])
def test_silence(model, capfd, verbose):
    model.fit(X, Y, validation_split=0.2, verbose=verbose)
    model.evaluate(X, Y, verbose=verbose)
    model.predict(X, verbose=verbose)
    assert capfd.readouterr() == ("", "")


def test_evaluate_and_predict_elsewhere_than_in_a_terminal(model, capfd):
    model.evaluate(X, Y, verbose=1)
    model.predict(X, verbose=1)
    out, err = capfd.readouterr()
    assert re.fullmatch(RESULTS + "\n", out)
    assert err == ""


def test_messages_of_callbacks_come_between_the_header_and_the_results(model, capsys):
    hook = tc.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print("message"))
    model.fit(X, Y, callbacks=[hook], verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["Epoch 1/1", "message"]
    assert re.fullmatch(RESULTS, lines[3])


def test_a_message_while_the_bar_moves_is_a_line_of_its_own(model, monkeypatch, capsys):
    monkeypatch.setattr("tinyconv.callbacks.progress.is_interactive", lambda: True)
    hook = tc.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: announce(f"batch {batch}"))
    model.fit(X, Y, 5, callbacks=[hook])
    lines = left_on_screen(capsys.readouterr().out)
    assert lines[:4] == ["Train on 10 samples", "Epoch 1/1", "batch 0", "batch 1"]
    assert re.fullmatch(RESULTS, lines[4])


@pytest.mark.parametrize("validation_split", [0.0, 0.2])
def test_what_callbacks_print_after_an_epoch_is_a_line_of_its_own(model, monkeypatch, capsys, validation_split):
    monkeypatch.setattr("tinyconv.callbacks.progress.is_interactive", lambda: True)
    hook = tc.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print("epoch", epoch))
    model.fit(X, Y, 2, epochs=2, callbacks=[hook], validation_split=validation_split)
    lines = left_on_screen(capsys.readouterr().out)
    assert [lines[2], lines[5]] == ["epoch 0", "epoch 1"]
    assert all(re.fullmatch(BOTH if validation_split else RESULTS, lines[i]) for i in (3, 6))


def test_small_and_odd_values(model, capsys):
    hook = tc.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(rate=1e-5, zero=0.0, array=[1, 2]))
    model.fit(X, Y, callbacks=[hook])
    assert " - rate: 1.0000e-05 - zero: 0.0000 - array: [1, 2]" in capsys.readouterr().out


PROGRAM = """
    import time
    import numpy as np
    import tinyconv as tc

    model = tc.Sequential([tc.layers.Dense(2, activation="softmax", input_shape=(3,))])
    model.compile("sgd", "categorical_crossentropy", ["acc"])
    slow = tc.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.15))
    x, y = np.ones((40, 3)), np.eye(2)[[0] * 40]
    model.fit(x, y, batch_size=8, epochs=2, validation_data=(x, y), callbacks=[slow], verbose=VERBOSE)
"""


def in_a_terminal(verbose):
    """What the program writes to a terminal of 80 columns."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    program = textwrap.dedent(PROGRAM).replace("VERBOSE", str(verbose))
    process = subprocess.Popen([sys.executable, "-c", program], stdout=theirs, stderr=subprocess.STDOUT, close_fds=True)
    os.close(theirs)
    chunks = []
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # Linux's way to say that the other side is closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(ours)
    assert process.wait() == 0
    return b"".join(chunks).decode()


def left_on_screen(text):
    """The lines that a terminal shows in the end: a carriage return goes back and what follows overwrites."""
    lines = []
    for raw in text.replace("\r\n", "\n").split("\n"):
        line = ""
        for part in raw.split("\r"):
            line = part + line[len(part) :]
        lines.append(line.rstrip())
    return [line for line in lines if line]


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_bar_moves_in_a_terminal_and_leaves_the_same_lines():
    text = in_a_terminal(1)
    assert re.search(r"[1-4]/5 \|[^|]*[█▏▎▍▌▋▊▉][^|]*\| \d\d:\d\d<\d\d:\d\d, loss: \d\.\d{4} - acc: \d\.\d{4}", text)
    lines = left_on_screen(text)
    assert lines[0] == "Train on 40 samples, validate on 40 samples"
    assert lines[1::2] == ["Epoch 1/2", "Epoch 2/2"]
    assert len(lines) == 5
    assert all(re.fullmatch(BOTH, line) for line in lines[2::2]), lines


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_verbose_2_shows_no_bar_in_a_terminal_either():
    text = in_a_terminal(2)
    assert "|" not in text
    assert len(left_on_screen(text)) == 5
