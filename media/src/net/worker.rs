//! Threads that run codecs, so that an encoder never delays a forwarded packet. Queues are bounded; a full one drops.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use mio::Waker;

use crate::codec::transcode::Transcoder;
use crate::control::LegId;
use crate::engine::{Job, Made, Work};
use crate::error::MediaError;

/// Packets that may wait for one worker: two seconds of five talkers.
const QUEUE: usize = 512;
/// Far more directions than one thread can encode.
const MAX_TRANSCODERS: usize = 1_024;

/// The workers of a shard.
pub(super) struct Workers(Vec<SyncSender<Work>>);

impl Workers {
    pub(super) fn start(
        count: usize,
        made: &SyncSender<Made>,
        waker: &Arc<Waker>,
    ) -> Result<Self, MediaError> {
        let mut queues = Vec::with_capacity(count);
        for index in 0..count {
            let (queue, work) = sync_channel(QUEUE);
            let (made, waker) = (made.clone(), waker.clone());
            std::thread::Builder::new()
                .name(format!("codec-{index}"))
                .spawn(move || run(&work, &made, &waker))?;
            queues.push(queue);
        }
        Ok(Self(queues))
    }

    /// The packets of one speaker go to one worker. When it does not keep up the speaker's leg is given back, to count.
    pub(super) fn give(&self, work: Work) -> Option<LegId> {
        match &work {
            Work::Transcode(job) => {
                let from = job.from;
                let taken = self.of(from).is_some_and(|queue| queue.try_send(work).is_ok());
                (!taken).then_some(from)
            }
            Work::Forget(leg) => {
                for queue in &self.0 {
                    let _ = queue.try_send(Work::Forget(*leg));
                }
                None
            }
        }
    }

    fn of(&self, leg: LegId) -> Option<&SyncSender<Work>> {
        let at = (leg.0 >> 6) % self.0.len().max(1) as u64;
        self.0.get(usize::try_from(at).unwrap_or_default())
    }
}

fn run(work: &Receiver<Work>, made: &SyncSender<Made>, waker: &Waker) {
    let mut transcoders: HashMap<(LegId, LegId), (Job, Transcoder)> = HashMap::new();
    while let Ok(work) = work.recv() {
        match work {
            Work::Forget(leg) => transcoders.retain(|(from, to), _| *from != leg && *to != leg),
            Work::Transcode(job) => {
                let out = transcode(&mut transcoders, job);
                let mut any = false;
                for packet in out {
                    any |= made.try_send(packet).is_ok();
                }
                if any {
                    let _ = waker.wake();
                }
            }
        }
    }
}

fn transcode(transcoders: &mut HashMap<(LegId, LegId), (Job, Transcoder)>, job: Job) -> Vec<Made> {
    let key = (job.from, job.to);
    let fits = transcoders.get(&key).is_some_and(|(first, _)| {
        (first.ssrc, first.from_codec, first.to_codec, first.ptime_ms)
            == (job.ssrc, job.from_codec, job.to_codec, job.ptime_ms)
    });
    if !fits {
        match Transcoder::new(job.from_codec, job.to_codec, job.ptime_ms) {
            Ok(transcoder) => {
                // A full queue may have lost a `Forget`; who still talks gets a new one with the next packet.
                if transcoders.len() >= MAX_TRANSCODERS {
                    transcoders.clear();
                }
                let first = Job { payload: Vec::new(), ..job.clone() };
                transcoders.insert(key, (first, transcoder));
            }
            Err(error) => {
                tracing::error!(%error, "no transcoder");
                return Vec::new();
            }
        }
    }
    let Some((_, transcoder)) = transcoders.get_mut(&key) else { return Vec::new() };
    let packets = transcoder.push(job.sequence, job.timestamp, &job.payload);
    packets
        .into_iter()
        .map(|(timestamp, payload)| Made {
            from: job.from,
            to: job.to,
            ssrc: job.ssrc,
            from_codec: job.from_codec,
            codec: job.to_codec,
            timestamp,
            payload,
        })
        .collect()
}
