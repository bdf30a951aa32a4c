//! The page that Prometheus reads (text format 0.0.4), by hand: the values live where they change, so there is nothing to
//! register, and what is left of a client library is this.

use std::fmt::{Display, Write};

/// A page that is being written.
#[derive(Debug, Default)]
pub struct MetricsPage(String);

/// One label of a sample.
pub type Label<'a> = (&'a str, &'a str);

impl MetricsPage {
    /// Something that only grows. Its name ends with `_total`.
    pub fn counter<'a, L, V>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (L, V)>)
    where
        L: AsRef<[Label<'a>]>,
        V: Display,
    {
        self.family(name, help, "counter", samples);
    }

    /// Something that goes up and down.
    pub fn gauge<'a, L, V>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (L, V)>)
    where
        L: AsRef<[Label<'a>]>,
        V: Display,
    {
        self.family(name, help, "gauge", samples);
    }

    /// A gauge without labels.
    pub fn value(&mut self, name: &str, help: &str, value: impl Display) {
        self.gauge(name, help, [([], value)]);
    }

    /// The page.
    pub fn finish(self) -> String {
        self.0
    }

    fn family<'a, L, V>(&mut self, name: &str, help: &str, kind: &str, samples: impl IntoIterator<Item = (L, V)>)
    where
        L: AsRef<[Label<'a>]>,
        V: Display,
    {
        // Writing to a text does not fail.
        let _ =
            writeln!(self.0, "# HELP {name} {}\n# TYPE {name} {kind}", help.replace('\\', "\\\\").replace('\n', "\\n"));
        for (labels, value) in samples {
            let labels = labels.as_ref().iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
            let labels = labels.collect::<Vec<_>>().join(",");
            let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_in_the_text_format() {
        let mut page = MetricsPage::default();
        page.counter("a_total", "All\nof them.", [([("x", "1\"\\\n")], 3)]);
        page.value("b", "B.", 1.5);
        let expected = "# HELP a_total All\\nof them.\n# TYPE a_total counter\na_total{x=\"1\\\"\\\\\\n\"} 3\n\
                        # HELP b B.\n# TYPE b gauge\nb 1.5\n";
        assert_eq!(page.finish(), expected);
    }
}
