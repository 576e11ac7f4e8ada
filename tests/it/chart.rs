//! The Helm chart, the plain manifests made of it, the alerts and the image, with the real `helm`
//! and `promtool`.

mod generated;
mod image;
mod monitoring;
mod overrides;
mod rejections;
mod templates;
