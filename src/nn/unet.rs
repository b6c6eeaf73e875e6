//! The U-Net (Ronneberger et al. 2015) that every stage uses: blocks of convolution, group norm and ReLU, two a level;
//! maximum pooling down, bilinear resize and concatenation up.
//!
//! What it is a network *of* is said by the landmark extents of its parameters ([`Extents`]) and by nothing else.

use crate::Result;
use crate::kernel::activation::Activation;
use crate::kernel::pool::PoolKind;
use crate::tape::{Init, Region, Tape, Var};
use serde::{Deserialize, Serialize};

/// Size of a U-Net.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UNetConfig {
    /// Channels of each level, finest first. Each is a multiple of [`GROUPS`].
    pub channels: Vec<usize>,
    /// Levels that have an output, and channels of its 1x1 head.
    pub heads: Vec<(usize, usize)>,
}

/// Groups of the group norm.
pub const GROUPS: usize = 4;

/// Landmark extents of the parameters: 1 is alike, K is distinct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extents {
    /// Of the 3x3 convolutions.
    pub weights: usize,
    /// Of the norms' affine, the heads and the adapters.
    pub private: usize,
    /// Rank of the adapters; 0 for none.
    pub rank: usize,
    /// Which convolutions have them.
    pub position: Position,
}

/// Which convolutions have adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Those of encoder and decoder.
    All,
    /// Those of the decoder.
    Decoder,
}

impl Extents {
    /// One network for all landmarks.
    pub const SHARED: Self = Self { weights: 1, private: 1, rank: 0, position: Position::All };

    /// `k` networks, nothing shared.
    pub fn distinct(k: usize) -> Self {
        Self { weights: k, private: k, ..Self::SHARED }
    }

    /// Shared convolutions with rank-`rank` adapters, norms and heads of each landmark's own.
    pub fn fused(k: usize, rank: usize, position: Position) -> Self {
        Self { weights: 1, private: k, rank, position }
    }
}

struct Block {
    name: String,
    weight: Var,
    adapter: Option<(Var, Var)>,
    gamma: Var,
    beta: Var,
}

struct Head {
    level: usize,
    weight: Var,
    bias: Var,
}

/// The parameters of a U-Net on a tape; [`UNet::forward`] may be recorded any number of times.
pub struct UNet {
    encoder: Vec<[Block; 2]>,
    decoder: Vec<(usize, [Block; 2])>,
    heads: Vec<Head>,
}

impl UNet {
    /// Declares the parameters in a region. The input has one channel.
    pub fn declare(tape: &mut Tape, region: Region, config: &UNetConfig, extents: Extents) -> Self {
        let mut block = |name: String, c_in: usize, c_out: usize| {
            tape.scoped(&name.clone(), |tape| {
                let Extents { weights, private, rank, position } = extents;
                let mut parameter = |name, shape: [usize; 5], init| tape.parameter(region, name, shape, init);
                let he = Init::Normal((2.0 / (9 * c_in) as f32).sqrt());
                // An adapter of the first layer would hold more numbers than that layer's own kernel.
                let placed = position == Position::All || name.starts_with("decoder");
                let adapter = (rank > 0 && c_in > 1 && placed).then(|| {
                    let down = Init::Normal((1.0 / c_in as f32).sqrt());
                    (
                        parameter("adapter_v", [private, rank, 1, 1, c_in], down),
                        parameter("adapter_u", [private, c_out, 1, 1, rank], Init::Zeros),
                    )
                });
                Block {
                    weight: parameter("weight", [weights, c_out, 3, 3, c_in], he),
                    gamma: parameter("gamma", [private, 1, 1, 1, c_out], Init::Ones),
                    beta: parameter("beta", [private, 1, 1, 1, c_out], Init::Zeros),
                    adapter,
                    name,
                }
            })
        };
        let channels = &config.channels;
        let finest = config.heads.iter().map(|&(level, _)| level).min().unwrap_or(0);
        let mut pair =
            |name: String, c_in: usize, c: usize| [block(format!("{name}a"), c_in, c), block(format!("{name}b"), c, c)];
        let encoder = (0..channels.len())
            .map(|i| pair(format!("encoder{i}"), if i == 0 { 1 } else { channels[i - 1] }, channels[i]))
            .collect();
        let decoder = (finest..channels.len() - 1)
            .rev()
            .map(|i| (i, pair(format!("decoder{i}"), channels[i + 1] + channels[i], channels[i])))
            .collect();
        let heads = config.heads.iter().map(|&(level, c_out)| {
            let c_in = channels[level];
            tape.scoped(&format!("head{level}"), |tape| Head {
                level,
                weight: tape.parameter(
                    region,
                    "weight",
                    [extents.private, c_out, 1, 1, c_in],
                    Init::Normal((1.0 / c_in as f32).sqrt()),
                ),
                bias: tape.parameter(region, "bias", [extents.private, 1, 1, 1, c_out], Init::Zeros),
            })
        });
        Self { encoder, decoder, heads: heads.collect() }
    }

    /// Records the network on `x: [k, n, h, w, 1]`. Returns the heads' outputs in the order of the configuration, each at
    /// its level's resolution.
    pub fn forward(&self, tape: &mut Tape, x: Var) -> Result<Vec<Var>> {
        let mut skips = Vec::new();
        let mut x = x;
        for (i, pair) in self.encoder.iter().enumerate() {
            if i > 0 {
                x = tape.pool(x, PoolKind::Max)?;
            }
            x = blocks(tape, pair, x)?;
            skips.push(x);
        }
        let mut levels = vec![None; self.encoder.len()];
        levels[self.encoder.len() - 1] = Some(x);
        for (i, pair) in &self.decoder {
            let skip = skips[*i];
            let shape = tape.shape(skip);
            let up = tape.resize(x, shape.h, shape.w)?;
            let joined = tape.concat(up, skip)?;
            x = blocks(tape, pair, joined)?;
            levels[*i] = Some(x);
        }
        let head = |head: &Head| {
            let x = levels[head.level].expect("a level with a head is decoded");
            tape.scoped(&format!("head{}", head.level), |tape| tape.conv2d(x, head.weight, Some(head.bias), None, 1))
        };
        self.heads.iter().map(head).collect()
    }
}

fn blocks(tape: &mut Tape, pair: &[Block; 2], mut x: Var) -> Result<Var> {
    for block in pair {
        x = tape.scoped(&block.name, |tape| {
            let y = tape.conv2d(x, block.weight, None, block.adapter, 1)?;
            let y = tape.group_norm(y, block.gamma, block.beta, GROUPS)?;
            tape.activate(y, Activation::Relu)
        })?;
    }
    Ok(x)
}
