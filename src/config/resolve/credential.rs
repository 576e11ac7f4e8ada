use serde_saphyr::Location as Place;

use super::super::document;
use super::super::error::ValueError;
use super::super::located::Located;
use super::super::names;
use super::super::spec::CredentialSource;
use super::Resolver;
use super::location::usable_path;
use super::source::Source;

impl Resolver<'_> {
    /// Where a credential is kept: exactly one of the places. Objects of the API may name Secrets only:
    /// whoever may write one must not get files of the controller sent to a server of theirs.
    pub(super) fn credential(
        &mut self,
        path: &str,
        written: &Located<document::Credential>,
    ) -> Option<CredentialSource> {
        let document::Credential {
            file,
            env,
            secret_ref,
        } = &written.value;
        let places: Vec<(&str, Place)> = [
            ("file", file.as_ref().map(|text| text.at)),
            ("env", env.as_ref().map(|text| text.at)),
            ("secretRef", secret_ref.as_ref().map(|part| part.at)),
        ]
        .into_iter()
        .filter_map(|(field, at)| Some((field, at?)))
        .collect();
        match (places.as_slice(), self.source) {
            ([(field @ ("file" | "env"), at), ..], Source::Objects { .. }) => {
                self.report(
                    Some(*at),
                    format!("{path}.{field} is for documents only"),
                    "write secretRef: { name: …, key: … }",
                );
                return None;
            }
            ([_], _) => {}
            ([], Source::Objects { .. }) => {
                self.report(
                    Some(written.at),
                    format!("{path} names no Secret"),
                    "write secretRef: { name: …, key: … }",
                );
                return None;
            }
            ([], Source::Document { .. }) => {
                self.report(
                    Some(written.at),
                    format!("{path} does not say where it is kept"),
                    "write file: …, env: … or secretRef: { name: …, key: … }",
                );
                return None;
            }
            ([(one, _), (other, at), ..], _) => {
                self.report(
                    Some(*at),
                    format!("{path} is kept in two places: {one} and {other}"),
                    "keep one of them",
                );
                return None;
            }
        }
        if let (Some(text), Source::Document { base }) = (file, self.source) {
            let read = |text: &str| usable_path("file", text).map(|()| base.join(text));
            let file = self.value(format_args!("{path}.file"), text, read)?;
            return Some(CredentialSource::File(file));
        }
        if let Some(text) = env {
            let name = self.value(format_args!("{path}.env"), text, variable)?;
            return Some(CredentialSource::Environment(name));
        }
        let secret = &secret_ref.as_ref()?.value;
        let path = format!("{path}.secretRef");
        let name = self.value(format_args!("{path}.name"), &secret.name, names::secret);
        let key = self.value(format_args!("{path}.key"), &secret.key, names::data_key);
        Some(CredentialSource::Secret {
            name: name?,
            key: key?,
        })
    }
}

fn variable(text: &str) -> Result<String, ValueError> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts = text
        .bytes()
        .next()
        .is_some_and(|byte| !byte.is_ascii_digit());
    match starts && text.bytes().all(word) {
        true => Ok(text.to_owned()),
        false => Err(ValueError::new(
            format!("{text:?} is no name of an environment variable"),
            "use letters, digits and '_', for example VAULT_TOKEN",
        )),
    }
}
