//! What is looked for in a text. A new language is a table here and requests of it in the test's
//! fixture.
//!
//! `*` at the end is any ending; else a word is whole. Case does not matter in ASCII; of other
//! alphabets a capital at the beginning is found as well. Scripts that don't part words by spaces,
//! or glue particles to them (from Hebrew's block on), are found anywhere.

mod marks;
mod romance;
mod scripts;
mod west;

use super::Feature;

type Table = &'static [(Feature, &'static [&'static str])];

pub(super) const TABLES: [Table; 13] = [
    marks::MARKS,
    west::ENGLISH,
    west::GERMAN,
    west::POLISH,
    romance::FRENCH,
    romance::SPANISH,
    romance::ITALIAN,
    romance::PORTUGUESE,
    scripts::RUSSIAN,
    scripts::CHINESE,
    scripts::JAPANESE,
    scripts::KOREAN,
    scripts::HINDI_AND_ARABIC,
];

/// Units of a length asked for, and what they are in words; a number stands before them.
pub(super) const UNITS: &[(&str, u32)] = &[
    ("words", 1),
    ("word", 1),
    ("pages", 400),
    ("page", 400),
    ("paragraphs", 80),
    ("chapters", 1500),
    ("Wörter", 1),
    ("Wörtern", 1),
    ("Worte", 1),
    ("Seiten", 400),
    ("mots", 1),
    ("pages", 400),
    ("palabras", 1),
    ("páginas", 400),
    ("palavras", 1),
    ("parole", 1),
    ("pagine", 400),
    ("słów", 1),
    ("stron", 400),
    ("слов", 1),
    ("страниц", 400),
    ("字", 1),
    ("页", 400),
    ("文字", 1),
    ("ページ", 400),
    ("자", 1),
    ("शब्द", 1),
    ("كلمة", 1),
];
