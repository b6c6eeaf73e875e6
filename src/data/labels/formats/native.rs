//! The native formats as two among others.

use super::builder::Builder;
use super::{Format, Holds, Source, Spacing};
use crate::data::labels::Labels;
use crate::error::{Error, Result};

pub(super) const CSV: Format = Format {
    name: "csv",
    title: "native CSV",
    ending: ".csv",
    per_image: false,
    holds: Holds::ALL,
    landmarks: &[],
    spacing: Spacing::Held,
    read: |source, builder| add(source, builder, Labels::from_csv(source.text, source.path)?),
    write: Some(|labels, _| Ok(labels.to_csv())),
};

pub(super) const JSON: Format = Format {
    name: "json",
    title: "native JSON",
    ending: ".json",
    per_image: false,
    holds: Holds::ALL,
    landmarks: &[],
    spacing: Spacing::Held,
    read: |source, builder| add(source, builder, Labels::from_json(source.text, source.path)?),
    write: Some(|labels, _| Ok(labels.to_json())),
};

fn add(source: &Source, builder: &mut Builder, labels: Labels) -> Result<()> {
    builder.rows(labels).map_err(|cause| Error::input(source.path, cause))
}
