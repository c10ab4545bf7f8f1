//! How findings are printed.

use hawser_analyze::{Finding, UNREADABLE};
use hawser_api::manifest::{Doc, Position};
use hawser_api::validate::Severity;
use serde_json::{Map, Value, json};

use super::Output;

/// A place in a file.
#[derive(Clone, Debug)]
pub struct Place {
    pub file: String,
    pub position: Option<Position>,
}

impl Place {
    pub fn of(doc: &Doc, path: &str) -> Place {
        Place {
            file: doc.file().to_owned(),
            position: Some(doc.position(path)),
        }
    }

    /// `file:line:column`.
    fn text(&self) -> String {
        match self.position {
            Some(position) => format!("{}:{position}", self.file),
            None => self.file.clone(),
        }
    }
}

/// A finding as it is printed.
#[derive(Clone, Debug)]
pub struct Message {
    pub severity: Severity,
    pub code: &'static str,
    /// Empty for what is no object.
    pub origin: String,
    pub field: String,
    pub message: String,
    pub help: String,
    pub place: Option<Place>,
    /// Further fields with the same mistake.
    pub also: Vec<(String, Option<Place>)>,
    /// Where several are analysed.
    pub cluster: Option<String>,
    pub documentation: Option<String>,
}

impl Default for Message {
    fn default() -> Self {
        Message {
            severity: UNREADABLE.severity,
            code: UNREADABLE.id,
            origin: String::new(),
            field: String::new(),
            message: String::new(),
            help: String::new(),
            place: None,
            also: Vec::new(),
            cluster: None,
            documentation: None,
        }
    }
}

impl Message {
    pub fn of(finding: Finding, doc: Option<&Doc>, cluster: Option<&String>) -> Message {
        let place = |path: &str| doc.map(|doc| Place::of(doc, path));
        Message {
            severity: finding.severity,
            code: finding.code,
            documentation: finding.documentation(),
            place: place(&finding.path),
            also: finding
                .also
                .into_iter()
                .map(|path| (path.clone(), place(&path)))
                .collect(),
            origin: finding.origin,
            field: finding.path,
            message: finding.message,
            help: finding.help,
            cluster: cluster.cloned(),
        }
    }

    pub fn unreadable(place: Place, message: String) -> Message {
        Message {
            message,
            place: Some(place),
            ..Message::default()
        }
    }

    fn level(&self) -> &'static str {
        match self.severity {
            Severity::Error => "Error",
            Severity::Warning => "Warning",
            Severity::Info => "Info",
        }
    }

    fn json(&self) -> Value {
        let mut out = Map::new();
        out.insert("code".to_owned(), json!(self.code));
        out.insert("level".to_owned(), json!(self.level()));
        out.insert("message".to_owned(), json!(self.message));
        let mut add = |key: &str, value: Value| {
            out.insert(key.to_owned(), value);
        };
        if !self.origin.is_empty() {
            add("origin", json!(self.origin));
        }
        if let Some(url) = &self.documentation {
            add("documentationUrl", json!(url));
        }
        if !self.field.is_empty() {
            add("field", json!(self.field));
        }
        if !self.help.is_empty() {
            add("help", json!(self.help));
        }
        if let Some(cluster) = &self.cluster {
            add("cluster", json!(cluster));
        }
        if let Some(place) = &self.place {
            add("file", json!(place.file));
            add("reference", json!(place.file));
            if let Some(position) = place.position {
                add("line", json!(position.line));
                add("column", json!(position.column));
                add(
                    "reference",
                    json!(format!("{}:{}", place.file, position.line)),
                );
            }
        }
        if !self.also.is_empty() {
            let also = self.also.iter().map(|(field, place)| match place {
                Some(place) => json!({"field": field, "reference": place.text()}),
                None => json!({"field": field}),
            });
            add("also", also.collect());
        }
        Value::Object(out)
    }

    /// istioctl's line, with the column and the field, and the way out below.
    fn log(&self, color: bool) -> String {
        let place = self.place.as_ref().map(Place::text);
        let within = [
            Some(self.origin.clone()),
            place,
            self.cluster.clone().map(|c| format!("in {c}")),
        ];
        let within: Vec<String> = within
            .into_iter()
            .flatten()
            .filter(|part| !part.is_empty())
            .collect();
        let field = if self.field.is_empty() {
            String::new()
        } else {
            format!("{}: ", self.field)
        };
        let (on, off) = match self.severity {
            Severity::Error if color => ("\x1b[1;31m", "\x1b[0m"),
            Severity::Warning if color => ("\x1b[33m", "\x1b[0m"),
            _ => ("", ""),
        };
        let mut out = format!(
            "{on}{}{off} [{}] ({}) {field}{}\n",
            self.level(),
            self.code,
            within.join(" "),
            self.message
        );
        for (field, place) in &self.also {
            let place = place
                .as_ref()
                .map(|p| format!(" ({})", p.text()))
                .unwrap_or_default();
            out.push_str(&format!("  also: {field}{place}\n"));
        }
        if !self.help.is_empty() {
            out.push_str(&format!("  help: {}\n", self.help));
        }
        out
    }
}

/// Prints all messages; `scope` is what was analysed.
pub fn print(messages: &[Message], output: Output, scope: &str, color: bool) {
    let list = || Value::Array(messages.iter().map(Message::json).collect());
    match output {
        Output::Json => println!("{:#}", list()),
        Output::Yaml => print!("{}", hawser_api::yaml::to_string(&list())),
        Output::Log if messages.is_empty() => {
            println!("✔ No validation issues found when analyzing {scope}.")
        }
        Output::Log => messages.iter().for_each(|m| print!("{}", m.log(color))),
    }
}
