//! What cannot be meant does not compile, and the message says what could be.
//!
//! One program for each kind of mistake, with the message beside it. After a change of the compiler
//! or of a message, `TRYBUILD=overwrite` writes them anew; read what changed. **Invariant**: each
//! message names the reader's words and stands where he wrote them.

/// M10, MD8: a condition that nobody described is not an error in production, it cannot be written.
#[test]
fn what_cannot_be_meant_does_not_compile() {
    let programs = trybuild::TestCases::new();
    programs.pass("tests/accepted/*.rs");
    programs.compile_fail("tests/refused/*.rs");
}
