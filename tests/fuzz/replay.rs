//! The committed corpora of the fuzz targets, and seeded changes of each, over the real code.

mod targets;

use std::path::Path;

/// Changed inputs made of each committed one.
const CHANGES: u64 = 300;

/// A small generator whose numbers are the same in every run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or_default()
    }
}

/// A few bytes flipped, cut, doubled, or put in from a list of what parsers trip over.
fn changed(input: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    const ODD: [&[u8]; 24] = [
        b"<",
        b">",
        b"'",
        b"&#0;",
        b"&lt;",
        b"]]>",
        b"<![CDATA[",
        b"<!--",
        b"xmlns:",
        b"\xff",
        b"\xc3\xa9",
        b"/>",
        b"\r\n",
        b"\r\n ",
        b"\0",
        b"%00",
        b";",
        b",",
        b"\"",
        b"\\",
        b"[::1]",
        b"99999999999999999999",
        b":",
        b"sip:",
    ];
    let mut out = input.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(out.len() + 1);
        match numbers.below(4) {
            0 if at < out.len() => out[at] ^= 1 << numbers.below(8),
            1 => out.truncate(at),
            2 => {
                let end = (at + numbers.below(20)).min(out.len());
                let piece = out[at..end].to_vec();
                out.splice(at..at, piece);
            }
            _ => {
                out.splice(at..at, ODD[numbers.below(ODD.len())].iter().copied());
            }
        }
    }
    out
}

#[test]
fn the_corpora_and_what_is_made_of_them_break_no_promise() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in targets::ALL {
        let mut inputs: Vec<_> = std::fs::read_dir(corpora.join(name))
            .unwrap()
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .collect();
        inputs.sort();
        assert!(inputs.len() >= 10, "{name}: {} inputs", inputs.len());
        for (n, input) in inputs.iter().enumerate() {
            target(input);
            let mut numbers = Numbers(n as u64);
            for _ in 0..CHANGES {
                target(&changed(input, &mut numbers));
            }
        }
    }
}
