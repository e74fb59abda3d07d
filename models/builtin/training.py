"""Train the builtin model and write builtin.tflite.

    python -m earmark.models.builtin.training [--output FILE] [--seed N]

Takes some minutes and needs TensorFlow (the extra `train`). The model takes and gives
what YAMNet does, so all that is written for one works with the other: a frame of 15600 samples at
16 kHz in, a score for each label out, and YAMNet's log-mel patch inside the graph (the parameters
in `params.py` and the steps in `features.py` of
https://github.com/tensorflow/models/tree/master/research/audioset/yamnet). The patch is computed
in float32, the network behind it in int8.

It prints the accuracy of the model on sounds of another seed. A model that is not good enough to
ship is not written, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import soundfile
import soxr
from ai_edge_litert.interpreter import Interpreter
from numpy.random import Generator
from numpy.typing import NDArray

from earmark.models import metadata
from earmark.models.builtin.synthesis import (
    LABELS,
    MIXTURES,
    Samples,
    synthesise,
    synthesise_mixture,
)
from earmark.models.classifier import AudioClassifier
from earmark.models.metadata import InputMetadata, LabelFile, ModelMetadata, OutputMetadata

try:
    import tensorflow as tf
    from tensorflow import keras
except ModuleNotFoundError as missing:
    raise SystemExit("training needs TensorFlow: pip install 'earmark[train]'") from missing

DEFAULT_OUTPUT: Final = Path(__file__).with_name("builtin.tflite")
DEFAULT_SEED: Final = 1
HELD_OUT_SEED_OFFSET: Final = 1

SAMPLE_RATE_HZ: Final = 16_000
FRAME_SAMPLES: Final = 15_600
WINDOW_SAMPLES: Final = 400
HOP_SAMPLES: Final = 160
FFT_SAMPLES: Final = 512
PATCH_FRAMES: Final = 1 + (FRAME_SAMPLES - WINDOW_SAMPLES) // HOP_SAMPLES
MEL_BANDS: Final = 64
MEL_HZ: Final = (125.0, 7500.0)
LOG_OFFSET: Final = 0.001
PATCH_LAYER: Final = "log_mel_patch"


class Codec(NamedTuple):
    """A lossy codec, by libsndfile's names of the container and the subtype."""

    container: str
    subtype: str


SOURCE_RATES_HZ: Final = (8000, 11025, 16000, 22050, 44100, 48000)
SOURCE_RATE_SHARES: Final = (0.25, 0.05, 0.45, 0.05, 0.1, 0.1)
GAIN_DB: Final = (-5.0, 1.0)
CODED_SHARE: Final = 0.4
CODECS: Final = (
    Codec("MP3", "MPEG_LAYER_III"),
    Codec("OGG", "VORBIS"),
    Codec("OGG", "OPUS"),
    Codec("WAV", "ULAW"),
)
OPUS_RATES_HZ: Final = (8000, 12000, 16000, 24000, 48000)
COMPRESSION_LEVELS: Final = (0.0, 0.7)
"""On libsndfile's scale. Nearer to 1, the lowest bit rates lose whole clicks."""

TRAINING_EXAMPLES: Final = 20_000
CALIBRATION_EXAMPLES: Final = 300
HELD_OUT_PER_LABEL: Final = 200
HELD_OUT_PER_MIXTURE: Final = 20
CHANNELS: Final = (16, 32, 64, 96)
BATCH: Final = 64
EPOCHS: Final = 14
LEARNING_RATE: Final = 2e-3
REQUIRED_ACCURACY: Final = 0.95

Array: TypeAlias = NDArray[np.float32]


class Examples(NamedTuple):
    """Frames and their labels.

    Attributes:
      frames: float32 [n, 15600].
      truth: float32 [n, classes], 1 where the label's sound is in the frame.
    """

    frames: Array
    truth: Array


class Accuracy(NamedTuple):
    """A model's accuracy on held-out sounds.

    Attributes:
      single: the share of frames of one sound whose label has the highest score.
      mixture: the share of frames of two sounds whose labels have the two highest scores.
    """

    single: float
    mixture: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, measure and write the model; return the exit code."""
    options = _parse(arguments)
    keras.utils.set_random_seed(options.seed)
    tf.config.experimental.enable_op_determinism()
    rng = np.random.default_rng(options.seed)
    network = train(training_examples(rng, TRAINING_EXAMPLES))
    model = pack(quantise(network, training_examples(rng, CALIBRATION_EXAMPLES).frames))
    accuracy = report(model, np.random.default_rng(options.seed + HELD_OUT_SEED_OFFSET))
    if accuracy.single < REQUIRED_ACCURACY:
        print(f"not written: {REQUIRED_ACCURACY:.0%} is the least that ships", file=sys.stderr)
        return 1
    options.output.write_bytes(model)
    print(f"{options.output}: {len(model)} bytes")
    return 0


def training_examples(rng: Generator, count: int) -> Examples:
    """Frames of one sound (half of them), of two at once, and of one that gives way to another."""
    makers = (_single, _mixture, _splice)
    drawn = [makers[i](rng) for i in rng.choice(len(makers), size=count, p=(0.5, 0.25, 0.25))]
    return _examples(drawn)


def held_out_singles(rng: Generator) -> Examples:
    """Frames of one sound each, as many of each label."""
    return _examples([_single(rng, x) for x in LABELS for _ in range(HELD_OUT_PER_LABEL)])


def held_out_mixtures(rng: Generator) -> Examples:
    """Frames of two sounds at once, as many of each pair."""
    return _examples([_mixture(rng, x) for x in MIXTURES for _ in range(HELD_OUT_PER_MIXTURE)])


def train(examples: Examples) -> keras.Model:
    """Train a network from log-mel patches [n, 96, 64] to scores [n, classes]."""
    network = _network()
    steps = EPOCHS * -(-len(examples.frames) // BATCH)
    network.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
        ),
        loss="binary_crossentropy",
    )
    network.fit(_patches(examples.frames), examples.truth, BATCH, EPOCHS, verbose=2)
    return network


def log_mel_patch(waveform: tf.Tensor) -> tf.Tensor:
    """YAMNet's patch [1, 96, 64] of a frame [15600], in the operations of its own .tflite file."""
    stft = tf.signal.stft(waveform, WINDOW_SAMPLES, HOP_SAMPLES, FFT_SAMPLES)
    mel = tf.matmul(tf.abs(stft), _mel_matrix()) + tf.fill([MEL_BANDS], LOG_OFFSET)
    return tf.reshape(tf.math.log(mel), [1, PATCH_FRAMES, MEL_BANDS])


def quantise(network: keras.Model, frames: Array) -> bytes:
    """A .tflite file of the float front end and, behind it, the network in int8.

    Args:
      network: from patches to scores.
      frames: float32 [n, 15600], typical of what the model will hear: the ranges of its int8
        values come from them.

    Returns:
      A .tflite file from a frame [15600] to scores [1, classes], both float32.
    """
    waveform = keras.Input(batch_shape=(FRAME_SAMPLES,), name="waveform")
    patch = keras.layers.Lambda(
        log_mel_patch, output_shape=lambda _: (1, PATCH_FRAMES, MEL_BANDS), name=PATCH_LAYER
    )(waveform)
    whole = keras.Model(waveform, {"scores": network(patch)})
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=_int8_converter(whole, frames),
        debug_dataset=_one_by_one(frames),
        debug_options=tf.lite.experimental.QuantizationDebugOptions(
            denylisted_nodes=_front_end_nodes(whole)
        ),
    )
    model: bytes = debugger.get_nondebug_quantized_model()
    return model


def pack(model: bytes) -> bytes:
    """Add metadata and labels to the model."""
    audio = InputMetadata("audio_clip", sample_rate_hz=SAMPLE_RATE_HZ, channels=1)
    labels = LabelFile("labels.txt", None, LABELS)
    said = ModelMetadata(
        name="earmark builtin",
        description="Tells ten kinds of synthesised sounds apart. It has never heard a real one: "
        "for trying earmark out and for its tests, not for conclusions about an archive.",
        author="The earmark authors",
        license="Apache-2.0",
        inputs=(audio,),
        outputs=(OutputMetadata("scores", label_files=(labels,)),),
    )
    return metadata.pack(model, said)


def report(model: bytes, rng: Generator) -> Accuracy:
    """Print the accuracy on held-out sounds for each label, and return the overall accuracy."""
    classifier = AudioClassifier(model)
    singles, mixtures = held_out_singles(rng), held_out_mixtures(rng)
    single_scores = classifier.score(singles.frames)
    mixture_scores = classifier.score(mixtures.frames)
    _print_table(single_scores, singles.truth)
    _print_missed(mixture_scores, mixtures.truth)
    accuracy = Accuracy(
        float(_top(single_scores, singles.truth, 1).mean()),
        float(_top(mixture_scores, mixtures.truth, 2).mean()),
    )
    print(f"one sound, its label on top: {accuracy.single:.2%}")
    print(f"two sounds, both labels in the top two: {accuracy.mixture:.2%}")
    return accuracy


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m earmark.models.builtin.training",
        description="Train the builtin model and write it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="where to write it")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="of everything random")
    return parser.parse_args(arguments)


class _Example(NamedTuple):
    frame: Samples
    labels: tuple[str, ...]


def _single(rng: Generator, label: str | None = None) -> _Example:
    label = label or LABELS[rng.integers(len(LABELS))]
    return _Example(_frame(rng, lambda s, hz: synthesise(label, rng, s, hz)), (label,))


def _mixture(rng: Generator, pair: tuple[str, str] | None = None) -> _Example:
    pair = pair or MIXTURES[rng.integers(len(MIXTURES))]
    return _Example(_frame(rng, lambda s, hz: synthesise_mixture(pair, rng, s, hz)), pair)


def _splice(rng: Generator) -> _Example:
    """One sound that changes to another, or to digital silence; each lasts 0.35 s or more.

    This happens within recordings, and in the zeros after their end.
    """
    before, after = _single(rng), _single(rng)
    cut = int(rng.uniform(0.36, 0.64) * FRAME_SAMPLES)
    pad = rng.random() < 0.3
    tail = np.zeros_like(after.frame) if pad else after.frame
    frame = np.concatenate([before.frame[:cut], tail[cut:]])
    return _Example(frame, (*before.labels, *(("silence",) if pad else after.labels)))


def _frame(rng: Generator, make: Callable[[float, int], Samples]) -> Samples:
    """A random frame out of two seconds of a sound, as files of several kinds would give it."""
    rate_hz = int(rng.choice(SOURCE_RATES_HZ, p=SOURCE_RATE_SHARES))
    sound = _with_gain(rng, make(2.0, rate_hz))
    if rng.random() < CODED_SHARE:
        sound = _coded(rng, sound, rate_hz)
    sound = np.asarray(soxr.resample(sound, rate_hz, SAMPLE_RATE_HZ), np.float32)
    start = rng.integers(len(sound) - FRAME_SAMPLES)
    return sound[start : start + FRAME_SAMPLES]


def _with_gain(rng: Generator, sound: Samples) -> Samples:
    """The sound somewhat louder or softer, to cover more levels than synthesis does."""
    gain = 10.0 ** (rng.uniform(*GAIN_DB) / 20.0)
    louder: Samples = np.clip(gain * sound, -1.0, 1.0).astype(np.float32)
    return louder


def _coded(rng: Generator, sound: Samples, rate_hz: int) -> Samples:
    """The sound after a lossy codec that can take its rate."""
    codecs = [codec for codec in CODECS if codec.subtype != "OPUS" or rate_hz in OPUS_RATES_HZ]
    container, subtype = codecs[rng.integers(len(codecs))]
    level = None if subtype == "ULAW" else rng.uniform(*COMPRESSION_LEVELS)
    file = io.BytesIO()
    soundfile.write(file, sound, rate_hz, subtype, format=container, compression_level=level)
    file.seek(0)
    decoded: Samples = soundfile.read(file, dtype="float32")[0]
    return decoded


def _examples(drawn: Sequence[_Example]) -> Examples:
    truth = [[float(label in example.labels) for label in LABELS] for example in drawn]
    return Examples(np.stack([x.frame for x in drawn]), np.array(truth, np.float32))


def _patches(frames: Array) -> Array:
    compute = tf.function(log_mel_patch)
    return np.concatenate([compute(frame).numpy() for frame in frames])


def _mel_matrix() -> tf.Tensor:
    """The triangles of HTK's mel scale over the FFT's bins, float32 [257, 64]."""
    return tf.signal.linear_to_mel_weight_matrix(
        MEL_BANDS, FFT_SAMPLES // 2 + 1, SAMPLE_RATE_HZ, *MEL_HZ
    )


def _network() -> keras.Model:
    """Four convolutions, each of half the resolution, an average over what is left, a sigmoid."""
    patch = keras.Input((PATCH_FRAMES, MEL_BANDS))
    x = keras.layers.Reshape((PATCH_FRAMES, MEL_BANDS, 1))(patch)
    for channels in CHANNELS:
        x = keras.layers.Conv2D(channels, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU(6.0)(x)
    x = keras.layers.GlobalAveragePooling2D(name="reduce_mean")(x)
    return keras.Model(patch, keras.layers.Dense(len(LABELS), "sigmoid", name="scores")(x))


def _int8_converter(whole: keras.Model, frames: Array) -> tf.lite.TFLiteConverter:
    converter = tf.lite.TFLiteConverter.from_keras_model(whole)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = _one_by_one(frames)
    return converter


def _one_by_one(frames: Array) -> Callable[[], Iterator[list[Array]]]:
    return lambda: ([frame] for frame in frames)


def _front_end_nodes(whole: keras.Model) -> list[str]:
    """The names of the log-mel patch's tensors, which have that of its layer in them.

    They stay float32, since a waveform has more than 256 levels.
    """
    model = tf.lite.TFLiteConverter.from_keras_model(whole).convert()
    tensors = Interpreter(model_content=model).get_tensor_details()
    return [tensor["name"] for tensor in tensors if PATCH_LAYER in tensor["name"]]


def _top(scores: Array, truth: Array, count: int) -> NDArray[np.bool_]:
    """Whether the `count` highest scores of each frame are those of its labels, bool [n]."""
    highest = np.argsort(-scores, axis=1)[:, :count]
    return np.asarray(np.take_along_axis(truth, highest, axis=1).all(axis=1))


def _print_table(scores: Array, truth: Array) -> None:
    right = _top(scores, truth, 1)
    print(f"{'label':12}{'on top':>8}{'its score':>11}{'highest other':>15}")
    for index, label in enumerate(LABELS):
        of_label = truth[:, index] == 1
        own, others = scores[of_label, index], np.delete(scores[of_label], index, axis=1)
        print(
            f"{label:12}{right[of_label].mean():8.1%}"
            f"{np.median(own):11.2f}{np.median(others.max(axis=1)):15.2f}"
        )


def _print_missed(scores: Array, truth: Array) -> None:
    """The pairs that are missed most, and how often of `HELD_OUT_PER_MIXTURE`."""
    missed = truth[~_top(scores, truth, 2)]
    pairs = Counter(" and ".join(np.array(LABELS)[row == 1]) for row in missed)
    for pair, count in pairs.most_common(5):
        print(f"missed: {pair}: {count} of {HELD_OUT_PER_MIXTURE}")


if __name__ == "__main__":
    sys.exit(main())
