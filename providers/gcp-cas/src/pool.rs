use std::fmt;
use std::str::FromStr;

/// The resource name of a CA pool: `projects/P/locations/L/caPools/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pool(String);

impl Pool {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The resource name of a CA in the pool.
    pub(crate) fn authority(&self, id: &str) -> String {
        format!("{}/certificateAuthorities/{id}", self.0)
    }

    /// The resource name of a certificate from the pool.
    pub(crate) fn certificate(&self, id: &str) -> String {
        format!("{}/certificates/{id}", self.0)
    }
}

impl FromStr for Pool {
    type Err = String;

    /// Refuses what is no resource name, and says what one looks like.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        let named = |part: &str, others: &str| {
            let word = |byte: u8| byte.is_ascii_alphanumeric() || others.as_bytes().contains(&byte);
            (1..=63).contains(&part.len()) && part.bytes().all(word)
        };
        match parts.as_slice() {
            ["projects", project, "locations", location, "caPools", name]
                // Old projects are named `example.com:name`.
                if named(project, "-.:") && named(location, "-") && named(name, "-_") =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(
                "write projects/PROJECT/locations/LOCATION/caPools/NAME, for example \
                 projects/corp-pki/locations/europe-west1/caPools/relay"
                    .to_owned(),
            ),
        }
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
