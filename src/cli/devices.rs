//! `onemark devices`: what programs can run on.

use crate::Result;
use crate::device::Device;

/// List the devices that --device may name.
#[derive(clap::Args)]
pub struct Args {
    /// Print the list as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<u8> {
    let devices = Device::list();
    if args.json {
        super::print_json(&devices)?;
        return Ok(0);
    }
    let mut text = String::new();
    for device in devices {
        text += &format!("{:<8}{} ({}, {}", device.spec, device.name, device.kind, device.backend);
        text += &device.threads.map(|n| format!(", {n} threads")).unwrap_or_default();
        text += ")";
        for feature in &device.features {
            text += &format!(" {feature}");
        }
        text += "\n";
    }
    super::print(text)?;
    Ok(0)
}
