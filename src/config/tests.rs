pub(super) const FULL: &str = "";
