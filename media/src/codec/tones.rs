//! Keys as the sounds of ITU-T Q.23, for a peer that takes no telephone events (`interop.md` 6.9): two tones at once in the audio.
//!
//! For G.711 alone, which needs no worker: what has neither events nor G.711 hears no key, and whoever pressed it is told.

use std::f64::consts::TAU;

use audio_codec::Encoder as _;
use audio_codec::pcma::PcmaEncoder;
use audio_codec::pcmu::PcmuEncoder;

use super::Codec;

/// Samples of a packet: 20 ms.
pub const SAMPLES: u32 = 160;
const RATE: f64 = 8_000.0;
/// Each tone at -7 dBm0, as a telephone makes it: ITU-T Q.24 wants at least -25.
const AMPLITUDE: f64 = 10_000.0;
const LOW: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const HIGH: [f64; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
/// Row by row, as event codes of RFC 4733 section 3.2.
const KEYS: [u8; 16] = [1, 2, 3, 12, 4, 5, 6, 13, 7, 8, 9, 14, 10, 0, 11, 15];

/// Whether keys can be heard in this codec.
pub fn can_sound(codec: Codec) -> bool {
    matches!(codec, Codec::Pcmu | Codec::Pcma)
}

/// The packet of a key that begins `sample` samples after the key did; `None` where there is no such sound.
pub fn packet(event: u8, codec: Codec, sample: u32) -> Option<Vec<u8>> {
    let place = KEYS.iter().position(|key| *key == event)?;
    let (low, high) = (LOW.get(place / 4)?, HIGH.get(place % 4)?);
    let at = |n: u32| {
        let time = f64::from(sample + n) / RATE;
        let value = AMPLITUDE * ((TAU * low * time).sin() + (TAU * high * time).sin());
        #[allow(clippy::cast_possible_truncation)] // at most 20,000
        let value = value as i16;
        value
    };
    let pcm: Vec<i16> = (0..SAMPLES).map(at).collect();
    Some(match codec {
        Codec::Pcmu => PcmuEncoder::new().encode(&pcm),
        Codec::Pcma => PcmaEncoder::new().encode(&pcm),
        Codec::Opus | Codec::G722 => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use audio_codec::Decoder as _;

    /// Power of one frequency (Goertzel), beside that of all.
    fn share(pcm: &[i16], hz: f64) -> f64 {
        let (mut re, mut im, mut all) = (0.0, 0.0, 0.0);
        for (n, sample) in (0_u32..).zip(pcm) {
            let (angle, value) = (TAU * hz * f64::from(n) / RATE, f64::from(*sample));
            re += value * angle.cos();
            im += value * angle.sin();
            all += value * value;
        }
        2.0 * (re * re + im * im) / (f64::from(u32::try_from(pcm.len()).unwrap()) * all)
    }

    #[test]
    fn every_key_is_its_two_tones_and_no_other_and_goes_on_from_packet_to_packet() {
        for codec in [Codec::Pcmu, Codec::Pcma] {
            for (place, event) in KEYS.iter().enumerate() {
                let coded: Vec<u8> =
                    (0..5).flat_map(|n| packet(*event, codec, n * SAMPLES).unwrap()).collect();
                assert_eq!(coded.len(), 800);
                let pcm = match codec {
                    Codec::Pcmu => audio_codec::pcmu::PcmuDecoder::new().decode(&coded),
                    _ => audio_codec::pcma::PcmaDecoder::new().decode(&coded),
                };
                for (row, hz) in LOW.iter().enumerate() {
                    assert_eq!(share(&pcm, *hz) > 0.4, row == place / 4, "{event} {hz}");
                }
                for (column, hz) in HIGH.iter().enumerate() {
                    assert_eq!(share(&pcm, *hz) > 0.4, column == place % 4, "{event} {hz}");
                }
            }
        }
        assert_eq!(packet(16, Codec::Pcmu, 0), None, "a flash has no sound");
        assert_eq!(packet(1, Codec::Opus, 0), None);
    }
}
