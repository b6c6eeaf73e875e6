//! An open device whose faults become typed errors: nothing panics, nothing waits for ever.

use super::{Adapter, DeviceInfo};
use crate::tape::ALIGN;
use crate::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What shaders on matrix units need.
pub(super) const MATRIX: wgpu::Features =
    wgpu::Features::SHADER_F16.union(wgpu::Features::SUBGROUP).union(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);

#[expect(unsafe_code)]
fn experimental() -> wgpu::ExperimentalFeatures {
    // SAFETY: matrix units are the one experimental feature that is asked for. Their shaders are the crate's own, stay inside
    // their buffers like all others, and are used only after their results were checked on the device.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

/// What an allocation is for, for the message if it fails.
#[derive(Clone, Debug, Default)]
pub(super) struct Need {
    /// Bytes in all.
    pub bytes: u64,
    /// The largest tensors.
    pub largest: String,
}

/// Faults that the driver reports from the side.
#[derive(Default)]
struct Faults {
    lost: Mutex<Option<String>>,
    uncaptured: Mutex<Option<String>>,
}

/// Keeps the first message; those that follow are its consequences.
fn note(fault: &Mutex<Option<String>>, message: String) {
    fault.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(message);
}

/// A device and its queue.
pub(super) struct Device {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub info: DeviceInfo,
    faults: Arc<Faults>,
}

impl Device {
    /// Opens a device with the largest buffers and bindings that it grants, and for the rest wgpu's default limits or what it has
    /// below them, as small boards do in textures; with its matrix units, if they are wanted.
    pub fn open(adapter: &Adapter, matrix: bool) -> Result<Self> {
        let granted = adapter.adapter.limits();
        let required_limits = wgpu::Limits {
            max_buffer_size: granted.max_buffer_size,
            max_storage_buffer_binding_size: granted.max_storage_buffer_binding_size,
            // Parameters in f16 begin at multiples of 128 bytes.
            min_storage_buffer_offset_alignment: granted.min_storage_buffer_offset_alignment,
            ..wgpu::Limits::default().or_worse_values_from(&granted)
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("onemark"),
            required_features: adapter.adapter.features()
                & (wgpu::Features::TIMESTAMP_QUERY
                    | wgpu::Features::SUBGROUP
                    | if matrix { MATRIX } else { wgpu::Features::SHADER_F16 }),
            required_limits,
            experimental_features: if matrix { experimental() } else { wgpu::ExperimentalFeatures::disabled() },
            ..wgpu::DeviceDescriptor::default()
        };
        let info = adapter.info.clone();
        let (device, queue) = pollster::block_on(adapter.adapter.request_device(&descriptor))
            .map_err(|e| Error::NoDevice(format!("{} does not open: {e}; `cpu` always works", info.name)))?;
        let faults = Arc::new(Faults::default());
        let (lost, uncaptured) = (faults.clone(), faults.clone());
        device.set_device_lost_callback(move |reason, message| note(&lost.lost, format!("{reason:?}: {message}")));
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| note(&uncaptured.uncaptured, error.to_string())));
        Ok(Self { device, queue, info, faults })
    }

    /// Fails unless it stores f16.
    pub fn check_half(&self) -> Result<()> {
        let cause = if !self.device.features().contains(wgpu::Features::SHADER_F16) {
            "it has no f16 shaders"
        } else if u64::from(self.device.limits().min_storage_buffer_offset_alignment) > 2 * ALIGN as u64 {
            "its bindings are aligned too far for parameters in f16"
        } else {
            return Ok(());
        };
        Err(Error::Limits { device: self.info.name.clone(), cause: cause.into() })
    }

    /// Fails if the device was lost, or if something went wrong outside every error scope.
    pub fn check(&self) -> Result<()> {
        if let Some(message) = &*self.faults.lost.lock().unwrap_or_else(|e| e.into_inner()) {
            return Err(Error::DeviceLost(format!("{}: {message}", self.info.name)));
        }
        match self.faults.uncaptured.lock().unwrap_or_else(|e| e.into_inner()).take() {
            Some(cause) => Err(Error::Limits { device: self.info.name.clone(), cause }),
            None => Ok(()),
        }
    }

    /// Remembers that the device is lost: every later call says so too.
    fn lost(&self, cause: String) -> Error {
        note(&self.faults.lost, cause.clone());
        Error::DeviceLost(format!("{}: {cause}", self.info.name))
    }

    /// Creates resources or submits work; an error of the driver is returned, and a lost device goes before lack of memory.
    pub fn guard<T>(&self, need: &Need, work: impl FnOnce() -> T) -> Result<T> {
        let filters = [wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory];
        let scopes = filters.map(|filter| self.device.push_error_scope(filter));
        let done = work();
        let errors = scopes.into_iter().rev().filter_map(|scope| pollster::block_on(scope.pop())).collect::<Vec<_>>();
        if !errors.is_empty() {
            // The loss of a device is first told to who polls; its outcome is in `faults`.
            drop(catch_unwind(AssertUnwindSafe(|| self.device.poll(wgpu::PollType::Poll))));
        }
        self.check()?;
        match errors.into_iter().next() {
            None => Ok(done),
            Some(wgpu::Error::OutOfMemory { .. }) => Err(self.out_of_memory(need, String::new())),
            Some(other) => Err(Error::Limits { device: self.info.name.clone(), cause: other.to_string() }),
        }
    }

    /// A labelled buffer of at least one binding's alignment.
    pub fn buffer(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages, need: &Need) -> Result<wgpu::Buffer> {
        let limit = self.device.limits().max_buffer_size;
        if bytes > limit {
            return Err(self.out_of_memory(need, format!(", a buffer has at most {limit} ({label} has {bytes})")));
        }
        let descriptor =
            wgpu::BufferDescriptor { label: Some(label), size: bytes.max(256), usage, mapped_at_creation: false };
        self.guard(need, || self.device.create_buffer(&descriptor))
    }

    pub fn out_of_memory(&self, need: &Need, limit: String) -> Error {
        let Need { bytes, largest } = need.clone();
        Error::OutOfMemory { device: self.info.name.clone(), needed: bytes, limit, largest }
    }

    /// Waits for a submission; `doing` completes the message of a timeout.
    pub fn wait(&self, submission: wgpu::SubmissionIndex, limit: Duration, doing: &str) -> Result<()> {
        let poll = wgpu::PollType::Wait { submission_index: Some(submission), timeout: Some(limit) };
        // wgpu panics here when the device is lost.
        let polled = catch_unwind(AssertUnwindSafe(|| self.device.poll(poll)));
        self.check()?;
        match polled {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(wgpu::PollError::Timeout)) => {
                Err(Error::Timeout { device: self.info.name.clone(), seconds: limit.as_secs(), doing: doing.into() })
            }
            Ok(Err(error)) => Err(self.lost(format!("{error} ({doing})"))),
            Err(_) => Err(self.lost(format!("while {doing}"))),
        }
    }

    /// Hands the first `bytes` of a buffer made for `MAP_READ` to `read`, once the submission that fills it is done.
    pub fn map<T: bytemuck::Pod, R>(
        &self,
        buffer: &wgpu::Buffer,
        bytes: u64,
        submission: wgpu::SubmissionIndex,
        limit: Duration,
        doing: &str,
        read: impl FnOnce(&[T]) -> R,
    ) -> Result<R> {
        if bytes == 0 {
            self.wait(submission, limit, doing)?;
            return Ok(read(&[]));
        }
        let (send, receive) = std::sync::mpsc::channel();
        // The receiver may be gone after a timeout.
        buffer.map_async(wgpu::MapMode::Read, ..bytes, move |result| drop(send.send(result)));
        let failed = |cause: String| self.lost(format!("{cause} ({doing})"));
        let values = self.wait(submission, limit, doing).and_then(|()| {
            receive.try_recv().map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?;
            let view = buffer.get_mapped_range(..bytes).map_err(|e| failed(e.to_string()))?;
            Ok(read(bytemuck::cast_slice(&view)))
        });
        // Also where it is not mapped yet: the buffer is used again.
        buffer.unmap();
        values
    }
}
