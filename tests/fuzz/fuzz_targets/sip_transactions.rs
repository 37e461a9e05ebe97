#![no_main]
//! libFuzzer's way to `targets::sip::sip_transactions`.

#[allow(dead_code)]
#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::sip::sip_transactions(data));
