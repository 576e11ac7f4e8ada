use super::super::document;
use super::super::error::ValueError;
use super::super::spec::{GcpCasConfig, GcpPool};
use super::Resolver;
use super::source::Source;

/// Google's own names: whoever may write an object must not get the controller's identity sent to a
/// server of theirs.
const GOOGLE: &str = ".googleapis.com";

impl Resolver<'_> {
    /// Settings of the Google Certificate Authority Service backend.
    pub(super) fn gcp_cas(
        &mut self,
        path: &str,
        written: &document::GcpCas,
    ) -> Option<GcpCasConfig> {
        let pool = self.value(format_args!("{path}.pool"), &written.pool, pool);
        let objects = matches!(self.source, Source::Objects { .. });
        let endpoint = match &written.endpoint {
            Some(text) => {
                let read = |text: &str| endpoint(text, objects);
                Some(self.value(format_args!("{path}.endpoint"), text, read)?)
            }
            None => None,
        };
        let credentials = match &written.credentials {
            Some(written) => Some(self.credential(&format!("{path}.credentials"), written)?),
            None => None,
        };
        Some(GcpCasConfig {
            pool: pool?,
            credentials,
            endpoint,
        })
    }
}

fn pool(text: &str) -> Result<GcpPool, ValueError> {
    let named = |part: &str, others: &[u8]| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || others.contains(&byte);
        (1..=63).contains(&part.len()) && part.bytes().all(allowed)
    };
    let parts: Vec<&str> = text.split('/').collect();
    match parts.as_slice() {
        ["projects", project, "locations", location, "caPools", name]
            // Old projects are named `example.com:name`.
            if named(project, b"-.:") && named(location, b"-") && named(name, b"-_") =>
        {
            Ok(GcpPool {
                project: (*project).to_owned(),
                location: (*location).to_owned(),
                name: (*name).to_owned(),
            })
        }
        _ => Err(ValueError::new(
            format!("{} is no CA pool", shown(text)),
            "write projects/PROJECT/locations/LOCATION/caPools/NAME, as gcloud privateca pools list \
             --uri shows it",
        )),
    }
}

fn endpoint(text: &str, only_google: bool) -> Result<String, ValueError> {
    let wrong = |hint: &str| ValueError::new(format!("{} cannot be used", shown(text)), hint);
    let uri: http::Uri = text
        .parse()
        .map_err(|_| wrong("write for example https://privateca-corp.p.googleapis.com"))?;
    let host = uri.host().unwrap_or_default();
    let plain = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
    let user = uri
        .authority()
        .is_some_and(|part| part.as_str().contains('@'));
    let loopback = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
    match uri.scheme_str() {
        Some("https") if only_google && !host.ends_with(GOOGLE) => Err(wrong(
            "in objects it ends with .googleapis.com; others are for documents only",
        )),
        Some("https") if plain && !user && !host.is_empty() => Ok(text.to_owned()),
        // Tokens must not cross a network in the clear.
        Some("http") if plain && !user && loopback && !only_google => Ok(text.to_owned()),
        _ => Err(wrong(
            "write https:// and a host, for example https://privateca-corp.p.googleapis.com",
        )),
    }
}

fn shown(text: &str) -> String {
    let start: String = text.chars().take(80).collect();
    format!("{start:?}")
}
