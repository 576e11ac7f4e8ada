//! A Secret as a volume, replaced as a whole as the kubelet does it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::manifest::write_private;

/// Content of a Secret.
pub(super) type Data = BTreeMap<String, Vec<u8>>;

/// A volume on disk. It does not exist before something was shown in it.
pub(super) struct Volume {
    folder: PathBuf,
    shown: Option<Data>,
    states: u64,
}

impl Volume {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            shown: None,
            states: 0,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    /// What is in it.
    pub(super) fn shown(&self) -> Option<&Data> {
        self.shown.as_ref()
    }

    /// Shows something else: a new folder, then one rename of the link `..data`, then the old folder
    /// goes.
    pub(super) fn show(&mut self, data: Data) {
        let state = format!("..state-{}", self.states);
        for (name, content) in &data {
            write_private(&self.folder.join(&state).join(name), content);
        }
        let (link, next) = (self.folder.join("..data"), self.folder.join("..data_tmp"));
        symlink(&state, &next).unwrap();
        fs::rename(&next, &link).unwrap();
        if let Some(before) = self.states.checked_sub(1) {
            fs::remove_dir_all(self.folder.join(format!("..state-{before}"))).unwrap();
        }
        self.states += 1;
        self.shown = Some(data);
    }
}
