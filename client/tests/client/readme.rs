//! The program in README.md is the compiled example, word for word.

#[test]
fn the_program_of_the_readme_is_the_one_that_is_compiled() {
    let readme = include_str!("../../../README.md");
    let example = include_str!("../../examples/shop.rs");
    let shown = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).expect("README.md shows a program");
    let (_, compiled) = example.split_once("\n\n").expect("the example's own words, then its code");
    assert_eq!(shown, compiled);
}
