//! Numbers that may be missing. JSON has no NaN: `serde_json` writes `null`, and [`number`] reads it back.

use serde::{Deserialize, Deserializer};

/// What may hold a missing number.
pub(super) trait MaybeMissing {
    type Json: for<'de> Deserialize<'de>;
    fn from_json(json: Self::Json) -> Self;
}

impl MaybeMissing for f64 {
    type Json = Option<f64>;
    fn from_json(json: Self::Json) -> Self {
        json.unwrap_or(f64::NAN)
    }
}

impl MaybeMissing for (f64, f64) {
    type Json = (Option<f64>, Option<f64>);
    fn from_json((a, b): Self::Json) -> Self {
        (f64::from_json(a), f64::from_json(b))
    }
}

impl<T: MaybeMissing> MaybeMissing for Vec<T> {
    type Json = Vec<T::Json>;
    fn from_json(json: Self::Json) -> Self {
        json.into_iter().map(T::from_json).collect()
    }
}

impl<T: MaybeMissing> MaybeMissing for Option<T> {
    type Json = Option<T::Json>;
    fn from_json(json: Self::Json) -> Self {
        json.map(T::from_json)
    }
}

/// For `#[serde(deserialize_with)]`.
pub(super) fn number<'de, D: Deserializer<'de>, T: MaybeMissing>(deserializer: D) -> Result<T, D::Error> {
    T::Json::deserialize(deserializer).map(T::from_json)
}
