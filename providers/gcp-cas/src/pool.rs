use std::fmt;

/// A CA pool.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pool(String);

impl Pool {
    /// The pool `name` of a project in a location, each as in the resource name
    /// `projects/PROJECT/locations/LOCATION/caPools/NAME`.
    pub fn new(project: &str, location: &str, name: &str) -> Self {
        Self(format!(
            "projects/{project}/locations/{location}/caPools/{name}"
        ))
    }

    /// The resource name.
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

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
