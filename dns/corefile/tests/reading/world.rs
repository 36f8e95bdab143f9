//! Variables and files that are not there in truth.

use std::collections::BTreeMap;

use tombolo_dns_corefile::{Config, Error, File, Server, Surroundings, parse};

#[derive(Default)]
pub(crate) struct World {
    variables: BTreeMap<&'static str, &'static str>,
    files: BTreeMap<&'static str, &'static str>,
}

impl World {
    pub(crate) fn with_variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.insert(name, value);
        self
    }

    pub(crate) fn with_file(mut self, path: &'static str, text: &'static str) -> Self {
        self.files.insert(path, text);
        self
    }

    pub(crate) fn parse(&self, text: &str) -> Result<Config, Error> {
        parse("Corefile", text, self)
    }
}

impl Surroundings for World {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|&value| value.to_owned())
    }

    fn files(&self, _from: &str, pattern: &str) -> Result<Vec<File>, String> {
        let (before, after) = pattern.split_once('*').unwrap_or((pattern, ""));
        let matching = self.files.iter().filter(|(path, _)| {
            if pattern.contains('*') {
                path.starts_with(before) && path.ends_with(after)
            } else {
                **path == pattern
            }
        });
        let files: Vec<File> = matching
            .map(|(&path, &text)| File {
                path: path.to_owned(),
                text: text.to_owned(),
            })
            .collect();
        if files.is_empty() && !pattern.contains('*') {
            return Err("no such file".to_owned());
        }
        Ok(files)
    }
}

pub(crate) fn servers(text: &str) -> Vec<Server> {
    World::default().parse(text).unwrap().servers
}

/// The one server of a block with these lines.
pub(crate) fn server(lines: &str) -> Server {
    servers(&format!(". {{\n{lines}\n}}\n")).remove(0)
}

pub(crate) fn error(text: &str) -> String {
    World::default().parse(text).unwrap_err().to_string()
}
