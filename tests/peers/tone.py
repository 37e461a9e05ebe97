"""Tones: samples of one, and what is heard in some. Samples are numpy arrays between -1 and 1."""
import wave

import numpy


def sine(hertz, rate, start, count, level=0.3):
    """`count` samples of `hertz`, from sample `start` on."""
    return level * numpy.sin(2 * numpy.pi * hertz * numpy.arange(start, start + count) / rate)


def write(path, hertz, rate, seconds):
    """A mono WAV file of a tone."""
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((32767 * sine(hertz, rate, 0, rate * seconds)).astype("<i2").tobytes())


def dominant(samples, rate):
    """The loudest frequency from 100 to 3500 Hz, the level (root mean square), and the purity: the share of 100 ms blocks in
    which that frequency, within 15 Hz, is the loudest."""
    level = float(numpy.sqrt(numpy.mean(numpy.square(samples)))) if len(samples) else 0.0
    size, peaks = rate // 10, []
    bins = numpy.fft.rfftfreq(8 * size, 1 / rate)
    voice = (bins >= 100) & (bins <= 3500)
    for at in range(0, len(samples) - size + 1, size):
        power = numpy.abs(numpy.fft.rfft(samples[at : at + size] * numpy.hanning(size), 8 * size)) ** 2
        peaks.append(bins[voice][numpy.argmax(power[voice])])
    if not peaks or level < 0.005:
        return {"hz": None, "level": level, "purity": 0}
    hz = float(sorted(peaks)[len(peaks) // 2])
    return {"hz": hz, "level": level, "purity": sum(abs(peak - hz) <= 15 for peak in peaks) / len(peaks)}
