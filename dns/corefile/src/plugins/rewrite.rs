//! `rewrite [continue|stop] name [exact|prefix|suffix|substring|regex] FROM TO [answer …]`.

use hickory_proto::rr::Name;
use regex::Regex;

use crate::arguments::{Arguments, Directive, Line, Word};
use crate::error::{Error, Problem};
use crate::values;

const FIELDS: &str = "name, the only field that is rewritten here";

/// A name that is asked in the place of another.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewrite {
    /// Which names, and by what they are replaced.
    pub name: NameMatch,
    /// What is done to the answer, besides the question in it.
    pub answers: Vec<AnswerRewrite>,
    /// Whether the rules after it are tried as well.
    pub goes_on: bool,
}

/// Which names are replaced, and by what. Names are in lower case, with their last dot.
#[derive(Clone, Debug)]
pub enum NameMatch {
    /// The whole name.
    Exact(String, String),
    /// Its beginning.
    Prefix(String, String),
    /// Its end.
    Suffix(String, String),
    /// Every place where it is.
    Substring(String, String),
    /// What it looks like; `{1}` in the replacement is the first group.
    Pattern(Regex, String),
}

/// What is done to the names of an answer.
#[derive(Clone, Debug)]
pub enum AnswerRewrite {
    /// The name that was asked comes back in the place of the one that was rewritten.
    Auto,
    /// Owners that look so are replaced.
    Name(Regex, String),
    /// Names in data (CNAME, SRV, …) that look so are replaced.
    Value(Regex, String),
}

// === impl Rewrite ===

impl Rewrite {
    pub(super) fn new(directive: &Directive) -> Result<Self, Error> {
        // The block is the same words, with more room.
        let mut line: Line = directive.line.clone();
        for option in &directive.options {
            line.arguments.push(option.name.clone());
            line.arguments.extend(option.arguments.iter().cloned());
        }
        let mut arguments = line.arguments();
        let is_mode = |text: &str| matches!(text, "continue" | "stop");
        let goes_on = arguments
            .next_if(is_mode)
            .is_some_and(|word| word.text == "continue");
        let field = arguments.required(FIELDS)?;
        if field.text != "name" {
            return Err(field.is_not(FIELDS));
        }
        let (name, mut answers) = NameMatch::new(&mut arguments)?;
        while let Some(word) = arguments.next() {
            if word.text != "answer" {
                return Err(word.is_not("answer"));
            }
            answers.push(AnswerRewrite::new(&mut arguments)?);
        }
        Ok(Self {
            name,
            answers,
            goes_on,
        })
    }
}

// === impl NameMatch ===

impl NameMatch {
    fn new(arguments: &mut Arguments<'_>) -> Result<(Self, Vec<AnswerRewrite>), Error> {
        let first = arguments.required("a name, or how it is matched")?;
        let kind = first.text.as_str();
        if !matches!(kind, "exact" | "prefix" | "suffix" | "substring" | "regex") {
            let from = first.value("a name", full_name)?;
            let to = arguments.value("a name", full_name)?;
            return Ok((Self::Exact(from, to), vec![AnswerRewrite::Auto]));
        }
        let from = arguments.required("what is replaced")?;
        let to = arguments.required("by what it is replaced")?;
        let lower = |word: &Word| word.text.to_ascii_lowercase();
        let name = match kind {
            "exact" => Self::Exact(
                from.value("a name", full_name)?,
                to.value("a name", full_name)?,
            ),
            "prefix" => Self::Prefix(lower(from), lower(to)),
            "suffix" => Self::Suffix(with_dot(&lower(from)), with_dot(&lower(to))),
            "substring" => {
                if from.text.is_empty() {
                    return Err(from.is_not("a part of a name"));
                }
                Self::Substring(lower(from), lower(to))
            }
            _ => Self::Pattern(pattern(from)?, lower(to)),
        };
        // A client would not know what else to make of the answer, and CoreDNS does so too.
        let answers = match name {
            Self::Exact(..) => vec![AnswerRewrite::Auto],
            Self::Prefix(..) | Self::Suffix(..) | Self::Substring(..) | Self::Pattern(..) => {
                Vec::new()
            }
        };
        Ok((name, answers))
    }

    /// What `name` becomes; none if it is not meant, or would be no name.
    #[must_use]
    pub fn rewrite(&self, name: &Name) -> Option<Name> {
        let text = name.to_lowercase().to_ascii();
        let rewritten = match self {
            Self::Exact(from, to) => (text == *from).then(|| to.clone()),
            Self::Prefix(from, to) => text
                .strip_prefix(from.as_str())
                .map(|rest| format!("{to}{rest}")),
            Self::Suffix(from, to) => text
                .strip_suffix(from.as_str())
                .map(|rest| format!("{rest}{to}")),
            Self::Substring(from, to) => text
                .contains(from.as_str())
                .then(|| text.replace(from.as_str(), to)),
            Self::Pattern(pattern, to) => replace_groups(pattern, to, &text),
        };
        values::name(&rewritten?)
    }
}

impl PartialEq for NameMatch {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(from, to), Self::Exact(other_from, other_to))
            | (Self::Prefix(from, to), Self::Prefix(other_from, other_to))
            | (Self::Suffix(from, to), Self::Suffix(other_from, other_to))
            | (Self::Substring(from, to), Self::Substring(other_from, other_to)) => {
                from == other_from && to == other_to
            }
            (Self::Pattern(from, to), Self::Pattern(other_from, other_to)) => {
                from.as_str() == other_from.as_str() && to == other_to
            }
            (
                Self::Exact(..)
                | Self::Prefix(..)
                | Self::Suffix(..)
                | Self::Substring(..)
                | Self::Pattern(..),
                _,
            ) => false,
        }
    }
}

// === impl AnswerRewrite ===

impl AnswerRewrite {
    fn new(arguments: &mut Arguments<'_>) -> Result<Self, Error> {
        const WHAT: &str = "auto, or name or value with what is replaced and by what";
        let what = arguments.required(WHAT)?;
        match what.text.as_str() {
            "auto" => Ok(Self::Auto),
            "name" | "value" => {
                let from = pattern(arguments.required("a regular expression")?)?;
                let to = arguments.required("by what it is replaced")?.text.clone();
                Ok(if what.text == "name" {
                    Self::Name(from, to)
                } else {
                    Self::Value(from, to)
                })
            }
            // `answer FROM TO` is `answer name FROM TO`.
            _ => {
                let from = pattern(what)?;
                let to = arguments.required("by what it is replaced")?.text.clone();
                Ok(Self::Name(from, to))
            }
        }
    }
}

impl PartialEq for AnswerRewrite {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Auto, Self::Auto) => true,
            (Self::Name(from, to), Self::Name(other_from, other_to))
            | (Self::Value(from, to), Self::Value(other_from, other_to)) => {
                from.as_str() == other_from.as_str() && to == other_to
            }
            (Self::Auto | Self::Name(..) | Self::Value(..), _) => false,
        }
    }
}

/// `to` with `{0}`, `{1}`, … replaced by the groups of `pattern` in `text`; none if that does not
/// look so.
#[must_use]
pub fn replace_groups(pattern: &Regex, to: &str, text: &str) -> Option<String> {
    let groups = pattern.captures(text)?;
    let mut replaced = to.to_owned();
    for (number, group) in groups.iter().enumerate() {
        let group = group.map_or("", |group| group.as_str());
        replaced = replaced.replace(&format!("{{{number}}}"), group);
    }
    Some(replaced)
}

fn pattern(word: &Word) -> Result<Regex, Error> {
    Regex::new(&word.text).map_err(|error| {
        word.error(Problem::Unsupported(format!(
            "{:?} is no regular expression: {}",
            word.text,
            error.to_string().lines().last().unwrap_or_default()
        )))
    })
}

fn full_name(text: &str) -> Option<String> {
    Some(values::name(text)?.to_ascii())
}

fn with_dot(text: &str) -> String {
    if text.ends_with('.') {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}
