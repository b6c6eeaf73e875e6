//! Which GPUs there are, and the choice of one.

use super::device::MATRIX;
use super::info::DeviceInfo;
use crate::{Error, Result};

/// What is said where there are none.
pub const NONE: &str = "no Vulkan or Metal device";

/// A device that was chosen.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub(super) adapter: wgpu::Adapter,
    /// What it is.
    pub info: DeviceInfo,
}

/// All devices, in an order that lasts as long as the machine's drivers do.
pub fn devices() -> Vec<DeviceInfo> {
    adapters().into_iter().map(|adapter| adapter.info).collect()
}

/// The device that `gpu`, `gpu:<index>` or `gpu:<part of a name>` asks for. Plain `gpu` is the first real one, or a
/// software device where there is no other; [`DeviceInfo::software`] says so.
///
/// # Errors
/// [`Error::Usage`] if the text has another form, [`Error::NoDevice`] if there is no such device; it lists those that are.
pub fn select(spec: &str) -> Result<Adapter> {
    let mut adapters = adapters();
    let infos: Vec<DeviceInfo> = adapters.iter().map(|adapter| adapter.info.clone()).collect();
    Ok(adapters.swap_remove(choose(spec, &infos)?))
}

fn choose(spec: &str, infos: &[DeviceInfo]) -> Result<usize> {
    let position = |wanted: &dyn Fn(&DeviceInfo) -> bool| infos.iter().position(wanted);
    let found = match spec.split_once(':') {
        None if spec == "gpu" => position(&|info| !info.software).or(position(&|_| true)),
        Some(("gpu", which)) if !which.is_empty() => match which.parse::<usize>() {
            Ok(index) => position(&|info| info.index == index),
            Err(_) => position(&|info| info.name.to_lowercase().contains(&which.to_lowercase())),
        },
        _ => return Err(Error::Usage(format!("device `{spec}` is not gpu, gpu:<index> or gpu:<part of a name>"))),
    };
    found.ok_or_else(|| {
        let list: Vec<String> = infos.iter().map(|info| format!("gpu:{} {}", info.index, info.name)).collect();
        let list = if list.is_empty() { NONE.into() } else { list.join(", ") };
        Error::NoDevice(format!("`{spec}` asked for; there is: {list}. `cpu` always works"))
    })
}

fn adapters() -> Vec<Adapter> {
    let mut options = wgpu::InstanceDescriptor::new_without_display_handle();
    options.flags = wgpu::InstanceFlags::empty();
    let instance = wgpu::Instance::new(options);
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN | wgpu::Backends::METAL));
    adapters
        .into_iter()
        .enumerate()
        .map(|(index, adapter)| Adapter { info: describe(index, &adapter), adapter })
        .collect()
}

fn describe(index: usize, adapter: &wgpu::Adapter) -> DeviceInfo {
    let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete",
        wgpu::DeviceType::IntegratedGpu => "integrated",
        wgpu::DeviceType::VirtualGpu => "virtual",
        wgpu::DeviceType::Cpu => "software",
        wgpu::DeviceType::Other => "other",
    };
    DeviceInfo {
        index,
        name: info.name,
        backend: info.backend.to_string(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().into(),
        kind: kind.into(),
        software: info.device_type == wgpu::DeviceType::Cpu,
        max_buffer_bytes: limits.max_buffer_size,
        max_binding_bytes: limits.max_storage_buffer_binding_size,
        f16: features.contains(wgpu::Features::SHADER_F16),
        matrix: matrix(adapter),
        subgroup_threads: if features.contains(wgpu::Features::SUBGROUP) { info.subgroup_min_size } else { 0 },
        workgroup_bytes: limits.max_compute_workgroup_storage_size,
        workgroup_threads: limits.max_compute_invocations_per_workgroup,
    }
}

/// Sides of 16 (NVIDIA) go before those of 8 (Apple, llvmpipe). A workgroup of 128 threads must have at least four subgroups,
/// which shaders cannot ask for; so those of AMD, of 32 or 64 threads as the driver likes, are left out. Of Metal wgpu says 64 whatever
/// the GPU; Apple's have 32.
fn matrix(adapter: &wgpu::Adapter) -> Option<usize> {
    use wgpu::CooperativeScalarType::{F16, F32};
    let info = adapter.get_info();
    let four_subgroups = info.subgroup_max_size <= 32 || info.backend == wgpu::Backend::Metal;
    let able = four_subgroups && adapter.features().contains(MATRIX);
    let properties = if able { adapter.cooperative_matrix_properties() } else { Vec::new() };
    [16, 8].into_iter().find(|&side| {
        let square = |m: &wgpu::CooperativeMatrixProperties| [m.m_size, m.n_size, m.k_size] == [side as u32; 3];
        properties.iter().any(|m| square(m) && m.ab_type == F16 && m.cr_type == F32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(index: usize, name: &str, software: bool) -> DeviceInfo {
        DeviceInfo {
            index,
            name: name.into(),
            backend: "vulkan".into(),
            driver: String::new(),
            kind: if software { "software" } else { "discrete" }.into(),
            software,
            ..DeviceInfo::default()
        }
    }

    #[test]
    fn a_software_device_is_taken_only_by_name_by_number_or_alone() {
        let infos = [info(0, "llvmpipe (LLVM 15)", true), info(1, "Radeon 780M", false), info(2, "RTX 3090", false)];
        let chosen = |spec: &str| choose(spec, &infos).unwrap();
        assert_eq!((chosen("gpu"), chosen("gpu:0"), chosen("gpu:2")), (1, 0, 2));
        assert_eq!((chosen("gpu:LLVM"), chosen("gpu:rtx")), (0, 2));
        assert_eq!(choose("gpu", &infos[..1]).unwrap(), 0);
    }

    #[test]
    fn what_is_not_there_is_an_error_that_lists_what_is() {
        let infos = [info(0, "Radeon 780M", false)];
        let error = choose("gpu:arc", &infos).unwrap_err();
        assert!(matches!(error, Error::NoDevice(_)) && error.to_string().contains("gpu:0 Radeon 780M"), "{error}");
        assert!(matches!(choose("gpu", &[]), Err(Error::NoDevice(_))));
        assert!(matches!(choose("cuda", &infos), Err(Error::Usage(_))));
    }
}
