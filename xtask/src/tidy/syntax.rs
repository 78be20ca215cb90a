//! Checks that need the syntax of a Rust file, not just its text.
//!
//! A file that does not parse has no findings here: the compiler tells that better.

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Block, Ident, ImplItemFn, ItemEnum, ItemFn, ItemMod, Signature, TraitItemFn,
    visit::{self, Visit},
};

use super::{Trouble, rust};
use crate::workspace::File;

/// From `fn` to the closing brace: what fits a screen.
const FUNCTION_LINES_MAX: usize = 70;

const UNFINISHED_MACROS: &[&str] = &["todo", "unimplemented", "dbg"];

/// Words that the glossary replaces; `flush` is left to what std means by it.
const BANNED_WORDS: &[&str] = &["purge", "purged", "purges", "bust", "busted", "busts"];

/// No function is longer than a screen.
pub(super) fn function_length(files: &[File]) -> Vec<Trouble> {
    let mut found = Vec::new();
    for file in rust(files) {
        for Function { name, line, lines } in outline(file).functions {
            if FUNCTION_LINES_MAX < lines {
                let message = format!(
                    "`{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}: \
                     keep the branching here and move the steps into functions"
                );
                found.push((file.path.clone(), line, message));
            }
        }
    }
    found
}

/// No macro that stands for missing code, and no test that does not run.
pub(super) fn unfinished(files: &[File]) -> Vec<Trouble> {
    let mut found = Vec::new();
    for file in rust(files) {
        let Ok(tokens) = file.text.parse::<TokenStream>() else { continue };
        unfinished_in(tokens, &mut |line, message| {
            found.push((file.path.clone(), line, message));
        });
    }
    found
}

fn unfinished_in(tokens: TokenStream, report: &mut dyn FnMut(usize, String)) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for pair in tokens.windows(2) {
        let [first, second] = pair else { continue };
        let line = first.span().start().line;
        match (first, second) {
            (TokenTree::Ident(name), TokenTree::Punct(mark)) if mark.as_char() == '!' => {
                let name = name.to_string();
                if UNFINISHED_MACROS.contains(&name.as_str()) {
                    report(line, format!("finish the code and take out `{name}!`"));
                }
            }
            (TokenTree::Punct(mark), TokenTree::Group(group)) if mark.as_char() == '#' => {
                let attribute = group.stream().into_iter().next().map(|first| first.to_string());
                if attribute.as_deref() == Some("ignore") {
                    report(line, "run the test, make it a soak, or delete it".to_owned());
                }
            }
            _ => {}
        }
    }
    for token in tokens {
        if let TokenTree::Group(group) = token {
            unfinished_in(group.stream(), report);
        }
    }
}

/// Public names use the words of the glossary.
pub(super) fn glossary(files: &[File]) -> Vec<Trouble> {
    let mut found = Vec::new();
    for file in rust(files) {
        for name in outline(file).public {
            let text = name.to_string();
            if let Some(word) = words(&text).find(|word| BANNED_WORDS.contains(&word.as_str())) {
                let message = format!(
                    "`{text}` says `{word}`: the word is remove (asked by key), invalidate (the \
                     source changed), expire (time) or evict (capacity)"
                );
                found.push((file.path.clone(), name.span().start().line, message));
            }
        }
    }
    found
}

/// The words of a name, in lower case: `purge_all`, `PurgeAll` and `PURGE_ALL` are the same two.
fn words(name: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::new();
    let mut after_lower = false;
    for character in name.chars() {
        if character.is_uppercase() && after_lower {
            spaced.push('_');
        }
        after_lower = character.is_lowercase();
        spaced.extend(character.to_lowercase());
    }
    spaced.split('_').map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// Lines of `file` that belong to modules which exist only for tests.
pub(super) fn test_lines(file: &File) -> usize {
    outline(file).test_lines
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// What the checks want to know of a file.
#[derive(Default)]
struct Outline {
    functions: Vec<Function>,
    public: Vec<Ident>,
    test_lines: usize,
}

fn outline(file: &File) -> Outline {
    let mut outline = Outline::default();
    if let Ok(syntax) = syn::parse_file(&file.text) {
        outline.visit_file(&syntax);
    }
    if let Ok(tokens) = file.text.parse() {
        outline.public_names(tokens);
    }
    outline
}

impl Outline {
    fn function(&mut self, signature: &Signature, block: &Block) {
        let line = signature.fn_token.span.start().line;
        let end = block.brace_token.span.close().end().line;
        let name = signature.ident.to_string();
        self.functions.push(Function { name, line, lines: end + 1 - line });
    }

    /// Collects the name after each `pub`, with whatever may stand between.
    fn public_names(&mut self, tokens: TokenStream) {
        const BETWEEN: &[&str] = &[
            "fn", "struct", "enum", "trait", "const", "static", "mod", "type", "async", "unsafe",
            "use", "extern", "union", "mut",
        ];
        let mut after_pub = false;
        for token in tokens {
            match token {
                TokenTree::Ident(name) if name == "pub" => after_pub = true,
                TokenTree::Ident(name) if BETWEEN.iter().any(|word| name == word) => {}
                TokenTree::Ident(name) if after_pub => {
                    self.public.push(name);
                    after_pub = false;
                }
                TokenTree::Group(group) => self.public_names(group.stream()),
                _ => {}
            }
        }
    }
}

impl<'a> Visit<'a> for Outline {
    fn visit_item_fn(&mut self, item: &'a ItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a ImplItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'a TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block);
        }
        self.public.push(item.sig.ident.clone());
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_enum(&mut self, item: &'a ItemEnum) {
        self.public.extend(item.variants.iter().map(|variant| variant.ident.clone()));
        visit::visit_item_enum(self, item);
    }

    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        let is_test = item.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg")
                && attribute.parse_args::<Ident>().is_ok_and(|name| name == "test")
        });
        match &item.content {
            Some((brace, _)) if is_test => {
                let start = item.mod_token.span.start().line;
                self.test_lines += brace.span.close().end().line + 1 - start;
            }
            _ => {}
        }
        visit::visit_item_mod(self, item);
    }
}
