//! `port`.
#[test]
fn nothing() {}
