//! Vectors of one length, end to end, and how alike two of them are.

use std::fmt;

/// Sums that go on side by side, so that the compiler can keep them in wide registers.
const LANES: usize = 16;

/// Why numbers are no vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotVectors {
    /// Vectors of length 0.
    Empty,
    /// So many numbers are left over.
    LeftOver(usize),
    /// A number of this vector is not finite.
    NotFinite(usize),
}

impl fmt::Display for NotVectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the vectors have no numbers"),
            Self::LeftOver(count) => write!(f, "{count} numbers are left over after whole vectors"),
            Self::NotFinite(at) => write!(f, "vector {at} has a number that is not finite"),
        }
    }
}

/// Vectors of one length.
#[derive(Debug, Clone)]
pub struct Vectors {
    width: usize,
    values: Vec<f32>,
    /// Per vector its length in space.
    norms: Vec<f64>,
    /// The vectors scaled to length 1; those of length 0 stay.
    unit: Vec<f32>,
}

impl Vectors {
    /// Vectors of `width` numbers each.
    ///
    /// # Errors
    /// If the numbers are not whole vectors, or not all finite.
    pub fn new(width: usize, values: Vec<f32>) -> Result<Self, NotVectors> {
        if width == 0 {
            return Err(NotVectors::Empty);
        }
        if !values.len().is_multiple_of(width) {
            return Err(NotVectors::LeftOver(values.len() % width));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(NotVectors::NotFinite(at / width));
        }
        let rows = values.chunks_exact(width);
        let norms: Vec<f64> = rows.clone().map(|row| dot(row, row).sqrt()).collect();
        let mut unit = Vec::with_capacity(values.len());
        for (row, norm) in rows.zip(&norms) {
            let scale = if *norm > 0.0 { 1.0 / norm } else { 0.0 };
            unit.extend(row.iter().map(|&value| (f64::from(value) * scale) as f32));
        }
        Ok(Self {
            width,
            values,
            norms,
            unit,
        })
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.norms.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.norms.is_empty()
    }

    /// Numbers of a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// A vector.
    pub fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.width..(at + 1) * self.width]
    }

    /// Cosine of two vectors, in double precision and never beyond -1 and 1; 0 if one of them has
    /// no direction.
    pub fn cosine(&self, a: usize, b: usize) -> f64 {
        let scale = self.norms[a] * self.norms[b];
        if scale > 0.0 {
            (dot(self.row(a), self.row(b)) / scale).clamp(-1.0, 1.0)
        } else {
            0.0
        }
    }

    /// The cosine in single precision: within 1e-5 of [`cosine`](Self::cosine) up to 10,000
    /// numbers, and several times as fast.
    pub(super) fn quick_cosine(&self, a: usize, b: usize) -> f32 {
        let unit = |at: usize| &self.unit[at * self.width..(at + 1) * self.width];
        quick_dot(unit(a), unit(b))
    }

    /// Euclidean distance, squared, in single precision.
    pub(super) fn squared_distance(&self, at: usize, point: &[f32]) -> f32 {
        let row = self.row(at);
        let mut sums = [0.0_f32; LANES];
        let (a, a_rest) = row.as_chunks::<LANES>();
        let (b, b_rest) = point.as_chunks::<LANES>();
        for (a, b) in a.iter().zip(b) {
            for lane in 0..LANES {
                let apart = a[lane] - b[lane];
                sums[lane] += apart * apart;
            }
        }
        let rest = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b));
        sums.iter().sum::<f32>() + rest.sum::<f32>()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let both = a.iter().zip(b);
    both.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn quick_dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b);
    sums.iter().sum::<f32>() + rest.sum::<f32>()
}
