use std::fmt;
use std::str::FromStr;

/// The ARN of a private CA: `arn:PARTITION:acm-pca:REGION:ACCOUNT:certificate-authority/UUID`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AuthorityArn {
    text: String,
    partition: String,
    region: String,
}

impl AuthorityArn {
    /// From the parts.
    pub fn new(partition: &str, region: &str, account: &str, id: &str) -> Self {
        Self {
            text: format!("arn:{partition}:acm-pca:{region}:{account}:certificate-authority/{id}"),
            partition: partition.to_owned(),
            region: region.to_owned(),
        }
    }

    /// The ARN.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The region in it.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The ARN of a template, in the CA's own partition.
    pub(crate) fn template(&self, name: &str) -> String {
        format!("arn:{}:acm-pca:::template/{name}/V1", self.partition)
    }

    /// Whether `arn` is that of a certificate of this CA.
    pub(crate) fn issued(&self, arn: &str) -> bool {
        arn.strip_prefix(&self.text)
            .and_then(|rest| rest.strip_prefix("/certificate/"))
            .is_some_and(|serial| {
                !serial.is_empty() && serial.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
    }
}

impl fmt::Display for AuthorityArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for AuthorityArn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split(':').collect();
        let word = |part: &str| {
            let allowed =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !part.is_empty() && part.len() <= 64 && part.bytes().all(allowed)
        };
        match parts.as_slice() {
            ["arn", partition, "acm-pca", region, account, resource]
                if word(partition)
                    && word(region)
                    && account.len() == 12
                    && account.bytes().all(|byte| byte.is_ascii_digit())
                    && resource
                        .strip_prefix("certificate-authority/")
                        .is_some_and(word) =>
            {
                Ok(Self {
                    text: text.to_owned(),
                    partition: (*partition).to_owned(),
                    region: (*region).to_owned(),
                })
            }
            _ => {
                Err("it is not arn:aws:acm-pca:REGION:ACCOUNT:certificate-authority/ID".to_owned())
            }
        }
    }
}
