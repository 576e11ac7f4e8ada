//! Where a TLS stream is, as far as one sees from outside.

/// Type, version and length of a record (RFC 8446, section 5.1).
const HEADER: usize = 5;
const APPLICATION_DATA: u8 = 23;

/// Counts the records of application data in one direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct ApplicationRecords {
    count: usize,
    header: Vec<u8>,
    /// What is still to come of the record whose header was read.
    body: usize,
}

impl ApplicationRecords {
    /// Takes the next bytes of the stream.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.body > 0 {
                let skipped = self.body.min(bytes.len());
                self.body -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let missing = (HEADER - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.header.len() == HEADER {
                self.count += usize::from(self.header[0] == APPLICATION_DATA);
                self.body = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
                self.header.clear();
            }
        }
    }

    /// Whether a client of TLS 1.3 has begun to send requests: its first record of this type ends the
    /// handshake.
    pub(crate) fn requests_begun(&self) -> bool {
        self.count > 1
    }
}
