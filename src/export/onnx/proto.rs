//! Protocol buffers, as far as an ONNX model needs them: a message is its encoded fields. Field numbers are those of
//! `onnx.proto`.

/// A message under construction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Message(Vec<u8>);

const VARINT: u64 = 0;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    /// With an integer, an enumeration or a boolean.
    pub fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3 | VARINT);
        self.varint(value as u64);
        self
    }

    /// With an integer for each of `values`.
    pub fn ints(self, field: u64, values: &[i64]) -> Self {
        values.iter().fold(self, |message, &value| message.int(field, value))
    }

    /// With a `float`.
    pub fn float(mut self, field: u64, value: f32) -> Self {
        self.varint(field << 3 | FIXED32);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// With a string, bytes or another message.
    pub fn bytes(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.varint(field << 3 | BYTES);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    /// With a string, bytes or another message for each of `values`.
    pub fn each<T: AsRef<[u8]>>(self, field: u64, values: impl IntoIterator<Item = T>) -> Self {
        values.into_iter().fold(self, |message, value| message.bytes(field, value))
    }

    /// The encoding.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_encoded_as_the_format_says() {
        let message = Message::default().int(1, 300).int(2, -1).float(3, 1.0).bytes(16, "ab").ints(4, &[0, 127]);
        let minus_one = [0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let rest = [0x1d, 0, 0, 0x80, 0x3f, 0x82, 0x01, 2, b'a', b'b', 0x20, 0, 0x20, 127];
        assert_eq!(message.into_bytes(), [&[0x08, 0xac, 0x02], &minus_one[..], &rest].concat());
    }
}
