//! Command lines of etcdctl, one after another, as a person would note them.
//!
//!     put k1 "a value"           a command line; quotes keep words together, \n and \t stand for themselves
//!     | first line               what it reads from its standard input, a line each
//!     ! get ""                   must be refused: a line without the mark must succeed
//!     lease grant 600 => lease   the second word of its answer is put where a later line says $lease
//!     watch k --rev=2 ... 4      ended with SIGTERM after 4 lines
//!     elect race me & leader 2   left alone after 2 lines
//!     end leader 5               ended with SIGTERM when it has told 5 lines in all
//!     # why                      for people
//!
//! Invariant: what is written here was read by `parse` as a whole; nothing is left over in silence.

use anyhow::{Context, Result, bail, ensure};

/// One line of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Run(Line),
    /// SIGTERM to the command that was left alone under this name, when it has told so many lines.
    End {
        name: String,
        lines: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) words: Vec<String>,
    pub(super) input: String,
    pub(super) refused: bool,
    pub(super) last: Last,
}

/// When a command is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Last {
    ByItself,
    /// By itself, and it tells something to remember.
    Telling(String),
    AfterLines(usize),
    Background {
        name: String,
        lines: usize,
    },
}

pub(super) fn parse(script: &str) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for text in script.lines().map(str::trim).filter(|text| !text.is_empty() && !text.starts_with('#')) {
        if let Some(input) = text.strip_prefix('|') {
            let Some(Step::Run(line)) = steps.last_mut() else { bail!("{text}: nobody reads this") };
            line.input += input.strip_prefix(' ').unwrap_or(input);
            line.input.push('\n');
        } else {
            steps.push(step(text).with_context(|| text.to_owned())?);
        }
    }
    Ok(steps)
}

fn step(text: &str) -> Result<Step> {
    let mut words = split(text)?;
    if words[0] == "end" {
        ensure!(words.len() == 3, "whose end, after how many lines?");
        return Ok(Step::End { lines: words[2].parse()?, name: words.swap_remove(1) });
    }
    let refused = words[0] == "!";
    if refused {
        words.remove(0);
    }
    let last = last(&mut words)?;
    Ok(Step::Run(Line { text: text.to_owned(), words, input: String::new(), refused, last }))
}

fn last(words: &mut Vec<String>) -> Result<Last> {
    let Some(mark) = words.iter().position(|word| matches!(&word[..], "=>" | "..." | "&")) else {
        return Ok(Last::ByItself);
    };
    let tail = words.split_off(mark);
    let tail: Vec<&str> = tail.iter().map(String::as_str).collect();
    Ok(match tail[..] {
        ["=>", name] => Last::Telling(name.to_owned()),
        ["...", lines] => Last::AfterLines(lines.parse()?),
        ["&", name, lines] => Last::Background { name: name.to_owned(), lines: lines.parse()? },
        _ => bail!("what does {tail:?} mean?"),
    })
}

fn split(text: &str) -> Result<Vec<String>> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(match letters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                other => other.context("a backslash at the end")?,
            }),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    ensure!(!quoted, "a quote is not closed");
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(script: &str) -> Line {
        match parse(script).expect("it can be read").remove(0) {
            Step::Run(line) => line,
            end @ Step::End { .. } => panic!("{end:?}"),
        }
    }

    #[test]
    fn quotes_keep_words_together() {
        assert_eq!(line(r#"put "a b" c\n "" d"e f""#).words, ["put", "a b", "c\n", "", "de f"]);
        assert!(parse(r#"put "a"#).is_err());
    }

    #[test]
    fn input_belongs_to_the_line_before_it() {
        let line = line("txn\n| mod(\"a\") = \"0\"\n|\n| put a b\nget a");
        assert_eq!(line.input, "mod(\"a\") = \"0\"\n\nput a b\n");
        assert!(parse("| nobody").is_err());
    }

    #[test]
    fn a_line_says_how_it_ends() {
        assert_eq!(line("get a").last, Last::ByItself);
        assert_eq!(line("lease grant 5 => x").last, Last::Telling("x".to_owned()));
        assert_eq!(line("watch a ... 3").last, Last::AfterLines(3));
        let background = Last::Background { name: "me".to_owned(), lines: 2 };
        assert_eq!(line("elect a b & me 2").last, background);
        let end = Step::End { name: "me".to_owned(), lines: 3 };
        assert_eq!(parse("end me 3").expect("it can be read"), [end]);
        assert!(line("! get \"\"").refused);
        for wrong in ["a => ", "a ... x", "a & me", "end me"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
