mod certificate;
mod csr;
mod encrypted_key;
mod key;
mod mutation;
mod path;

/// A file made by the OpenSSL command line.
macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("fixtures/", $name)).as_slice()
    };
}
use fixture;
