//! One codec into another, packet by packet. Opus runs at the other codec's rate, so only G.711 with G.722 resamples.
//!
//! What is lost stays lost: the timestamp jumps with it and the listener's own concealment fills the gap.

use audio_codec::g722::{G722Decoder, G722Encoder};
use audio_codec::pcma::{PcmaDecoder, PcmaEncoder};
use audio_codec::pcmu::{PcmuDecoder, PcmuEncoder};
use audio_codec::{BoxedResampler, Decoder as _, Encoder as _};

use super::Codec;

/// Longest packet of any codec: 120 ms at 48 kHz.
const MAX_SAMPLES: usize = 5_760;
/// Longest Opus packet that we make.
const MAX_PACKET: usize = 1_275;

/// A codec could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("codec: {0}")]
pub struct CodecFault(String);

enum Decoder {
    Opus(Box<ropus::Decoder>),
    G722(Box<G722Decoder>),
    Pcmu(PcmuDecoder),
    Pcma(PcmaDecoder),
}

enum Encoder {
    Opus(Box<ropus::Encoder>),
    G722(Box<G722Encoder>),
    Pcmu(PcmuEncoder),
    Pcma(PcmaEncoder),
}

/// One direction of one pair of codecs.
pub struct Transcoder {
    decoder: Decoder,
    resampler: Option<BoxedResampler>,
    encoder: Encoder,
    /// Samples of a packet to make.
    frame: usize,
    /// Rate that the encoder hears.
    rate: u32,
    /// Clock of the incoming timestamps.
    clock: u32,
    last: Option<u16>,
    /// When the first waiting sample was spoken.
    timestamp: u32,
    waiting: Vec<i16>,
}

impl Transcoder {
    /// For packets of `ptime_ms`, which is brought into 10 to 60.
    ///
    /// # Errors
    ///
    /// [`CodecFault`] when Opus refuses its settings.
    pub fn new(from: Codec, to: Codec, ptime_ms: u32) -> Result<Self, CodecFault> {
        let (from_rate, to_rate) = match (from, to) {
            (Codec::Opus, other) => (other.sample_rate(), other.sample_rate()),
            (other, Codec::Opus) => (other.sample_rate(), other.sample_rate()),
            (a, b) => (a.sample_rate(), b.sample_rate()),
        };
        // Opus knows frames of 10, 20, 40 and 60 ms.
        let ptime_ms = match ptime_ms {
            1..=10 => 10,
            0 | 11..=29 => 20,
            30..=49 if to == Codec::Opus => 40,
            30..=49 => ptime_ms,
            _ => 60,
        };
        let resampler = (from_rate != to_rate)
            .then(|| BoxedResampler::new(from_rate as usize, to_rate as usize))
            .transpose()
            .map_err(|e| CodecFault(format!("{e:?}")))?;
        Ok(Self {
            decoder: decoder(from, from_rate)?,
            resampler,
            encoder: encoder(to, to_rate)?,
            frame: (to_rate * ptime_ms / 1_000) as usize,
            rate: to_rate,
            clock: from.clock_rate(),
            last: None,
            timestamp: 0,
            waiting: Vec::new(),
        })
    }

    /// Takes a packet; gives those that are full now, with the time of their first sample in the speaker's clock.
    pub fn push(&mut self, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let step = self.last.map_or(1, |last| sequence.wrapping_sub(last));
        // Twice, or too late to be of use.
        if step == 0 || step >= 0x8000 {
            return Vec::new();
        }
        self.last = Some(sequence);
        let mut pcm = [0; MAX_SAMPLES];
        let Some(length) = self.decode(payload, &mut pcm) else { return Vec::new() };
        if timestamp != self.timestamp.wrapping_add(self.ticks(self.waiting.len())) {
            self.waiting.clear();
            self.timestamp = timestamp;
        }
        let decoded = pcm.get(..length).unwrap_or_default();
        match &mut self.resampler {
            Some(resampler) => self.waiting.extend(resampler.resample(decoded)),
            None => self.waiting.extend_from_slice(decoded),
        }
        let mut out = Vec::new();
        while self.waiting.len() >= self.frame {
            let rest = self.waiting.split_off(self.frame);
            let frame = std::mem::replace(&mut self.waiting, rest);
            if let Some(packet) = self.encode(&frame) {
                out.push((self.timestamp, packet));
            }
            self.timestamp = self.timestamp.wrapping_add(self.ticks(self.frame));
        }
        out
    }

    fn ticks(&self, samples: usize) -> u32 {
        let ticks = samples as u64 * u64::from(self.clock) / u64::from(self.rate.max(1));
        u32::try_from(ticks).unwrap_or_default()
    }

    fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Option<usize> {
        if payload.is_empty() {
            return None;
        }
        match &mut self.decoder {
            Decoder::Opus(opus) => opus.decode(payload, out, ropus::DecodeMode::Normal).ok(),
            Decoder::G722(g722) => g722.decode_into(payload, out).ok(),
            Decoder::Pcmu(pcmu) => pcmu.decode_into(payload, out).ok(),
            Decoder::Pcma(pcma) => pcma.decode_into(payload, out).ok(),
        }
    }

    fn encode(&mut self, pcm: &[i16]) -> Option<Vec<u8>> {
        let mut out = vec![0; MAX_PACKET];
        let length = match &mut self.encoder {
            Encoder::Opus(opus) => opus.encode(pcm, &mut out).ok(),
            Encoder::G722(g722) => g722.encode_into(pcm, &mut out).ok(),
            Encoder::Pcmu(pcmu) => pcmu.encode_into(pcm, &mut out).ok(),
            Encoder::Pcma(pcma) => pcma.encode_into(pcm, &mut out).ok(),
        }?;
        out.truncate(length);
        Some(out)
    }
}

fn decoder(codec: Codec, rate: u32) -> Result<Decoder, CodecFault> {
    Ok(match codec {
        Codec::Opus => {
            let opus = ropus::Decoder::new(rate, ropus::Channels::Mono);
            Decoder::Opus(Box::new(opus.map_err(|e| CodecFault(format!("{e:?}")))?))
        }
        Codec::G722 => Decoder::G722(Box::new(G722Decoder::new())),
        Codec::Pcmu => Decoder::Pcmu(PcmuDecoder::new()),
        Codec::Pcma => Decoder::Pcma(PcmaDecoder::new()),
    })
}

fn encoder(codec: Codec, rate: u32) -> Result<Encoder, CodecFault> {
    Ok(match codec {
        Codec::Opus => {
            let opus =
                ropus::Encoder::builder(rate, ropus::Channels::Mono, ropus::Application::Voip)
                    .bitrate(ropus::Bitrate::Bits(if rate > 8_000 { 28_000 } else { 20_000 }))
                    .complexity(5)
                    .inband_fec(ropus::InbandFec::Enabled)
                    .packet_loss_perc(5)
                    .build();
            Encoder::Opus(Box::new(opus.map_err(|e| CodecFault(format!("{e:?}")))?))
        }
        Codec::G722 => Encoder::G722(Box::new(G722Encoder::new())),
        Codec::Pcmu => Encoder::Pcmu(PcmuEncoder::new()),
        Codec::Pcma => Encoder::Pcma(PcmaEncoder::new()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Codec; 4] = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];

    fn tone(from: usize, count: usize) -> Vec<i16> {
        let at = |n: usize| 9_000.0 * (n as f64 * 440.0 * std::f64::consts::TAU / 8_000.0).sin();
        (from..from + count).map(|n| at(n) as i16).collect()
    }

    /// Share of the power at 440 Hz (Goertzel).
    fn purity(pcm: &[i16]) -> f64 {
        let w = 2.0 * (440.0 * std::f64::consts::TAU / 8_000.0).cos();
        let (mut s1, mut s2, mut power) = (0.0, 0.0, 1.0);
        for x in pcm {
            let x = f64::from(*x);
            (s1, s2) = (x + w * s1 - s2, s1);
            power += x * x;
        }
        (s1 * s1 + s2 * s2 - w * s1 * s2) * 2.0 / pcm.len() as f64 / power
    }

    #[test]
    fn a_tone_survives_every_pair_of_codecs() {
        for a in ALL {
            for b in ALL {
                let first = if a == Codec::Pcmu { Codec::Pcma } else { Codec::Pcmu };
                let last = if b == Codec::Pcmu { Codec::Pcma } else { Codec::Pcmu };
                let mut chain = [(first, a), (a, b), (b, last)]
                    .into_iter()
                    .filter(|(x, y)| x != y)
                    .map(|(x, y)| (Transcoder::new(x, y, 20).unwrap(), x, y))
                    .collect::<Vec<_>>();
                let mut decode = decoder(last, 8_000).unwrap();
                let mut encode = encoder(first, 8_000).unwrap();
                let mut heard = Vec::new();
                for n in 0..50_usize {
                    let pcm = tone(n * 160, 160);
                    let mut coded = vec![0; 200];
                    let length = match &mut encode {
                        Encoder::Pcmu(e) => e.encode_into(&pcm, &mut coded).unwrap(),
                        Encoder::Pcma(e) => e.encode_into(&pcm, &mut coded).unwrap(),
                        _ => unreachable!(),
                    };
                    coded.truncate(length);
                    let mut packets = vec![(n as u32 * 160, coded)];
                    for (transcoder, x, y) in &mut chain {
                        let mut next = Vec::new();
                        for (time, packet) in packets {
                            next.extend(transcoder.push(n as u16, time, &packet));
                        }
                        let clock =
                            |t: u32| t / (x.clock_rate() / 1_000) * (y.clock_rate() / 1_000);
                        packets = next.into_iter().map(|(t, p)| (clock(t), p)).collect();
                    }
                    for (_, packet) in packets {
                        let mut out = [0; 1_000];
                        let length = match &mut decode {
                            Decoder::Pcmu(d) => d.decode_into(&packet, &mut out).unwrap(),
                            Decoder::Pcma(d) => d.decode_into(&packet, &mut out).unwrap(),
                            _ => unreachable!(),
                        };
                        heard.extend_from_slice(&out[..length]);
                    }
                }
                assert!(heard.len() > 5_000, "{a:?} {b:?}: {}", heard.len());
                let middle = &heard[2_400..4_000];
                assert!(purity(middle) > 0.9, "{a:?} {b:?}: {}", purity(middle));
            }
        }
    }

    #[test]
    fn packets_are_cut_anew_and_keep_their_time() {
        let mut transcoder = Transcoder::new(Codec::Pcmu, Codec::Pcma, 30).unwrap();
        let mut times = Vec::new();
        for n in 0..6_u16 {
            let made = transcoder.push(n, 1_000 + u32::from(n) * 160, &[0xff; 160]);
            times.extend(made.iter().map(|(t, p)| (*t, p.len())));
        }
        assert_eq!(times, [(1_000, 240), (1_240, 240), (1_480, 240), (1_720, 240)]);
    }

    #[test]
    fn what_comes_twice_late_or_broken_makes_nothing() {
        let mut transcoder = Transcoder::new(Codec::Opus, Codec::Pcmu, 20).unwrap();
        assert!(transcoder.push(5, 0, &[]).is_empty());
        assert!(transcoder.push(5, 0, &[0xff; 3]).is_empty());
        assert!(transcoder.push(4, 0, &[0xff; 3]).is_empty());
        let _ = transcoder.push(6, 0, &[0x03, 0xff, 1, 2, 3]);
    }
}
