//! The text format of Prometheus, as much of it as one metric needs.

/// The samples of one metric: the value of a label, and that of the sample. A line that is anything else,
/// and a sample without that label, is passed over.
pub(super) fn samples<'a>(
    text: &'a str,
    metric: &'a str,
    label: &'a str,
) -> impl Iterator<Item = (String, f64)> + 'a {
    text.lines()
        .filter_map(move |line| sample(line, metric, label))
}

fn sample(line: &str, metric: &str, label: &str) -> Option<(String, f64)> {
    let rest = line.trim_start().strip_prefix(metric)?;
    let mut rest = rest.trim_start().strip_prefix('{')?;
    let mut found = None;
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            let value = after.split_whitespace().next()?;
            return Some((found?, value.parse().ok()?));
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start())?;
        if name.trim() == label {
            found = Some(value);
        }
        let after = after.trim_start();
        rest = after.strip_prefix(',').unwrap_or(after);
    }
}

/// What is between quotes, and what follows them.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut characters = text.strip_prefix('"')?.char_indices();
    let mut value = String::new();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 2..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            character => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, f64)> {
        samples(text, "connected", "cluster").collect()
    }

    #[test]
    fn samples_are_read_as_prometheus_writes_them() {
        let text = "# HELP connected clients that are connected\n# TYPE connected gauge\n\
                    connected{cluster=\"c1\"} 1\n\
                    connected{app=\"a,b}\",cluster=\"c2\",} 2 1395066363000\n\
                    connected { cluster = \"c\\\"3\" , pod = \"p\" } 0\n\
                    connected{cluster=\"c4\"} 1e0 # {trace=\"x\"} 1\n";
        let wanted = [("c1", 1.0), ("c2", 2.0), ("c\"3", 0.0), ("c4", 1.0)];
        let wanted = wanted.map(|(cluster, value)| (cluster.to_owned(), value));
        assert_eq!(found(text), wanted);
    }

    #[test]
    fn whatever_else_is_there_is_passed_over() {
        for line in [
            "connected 1",
            "connected{} 1",
            "connected{pod=\"p\"} 1",
            "connected_total{cluster=\"c1\"} 1",
            "connected{cluster=\"c1\"}",
            "connected{cluster=\"c1\"} one",
            "connected{cluster=\"c1",
            "connected{cluster=\"c1\\",
            "connected{cluster=c1} 1",
            "connected{cluster",
            "not_connected{cluster=\"c1\"} 1",
            "{cluster=\"c1\"} 1",
        ] {
            assert_eq!(found(line), [], "{line}");
        }
    }
}
