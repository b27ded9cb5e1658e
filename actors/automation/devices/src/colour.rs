//! Colours in the ways in which lights say them.

use serde_json::{Value, json};

/// Red, green, blue, 0 to 255.
pub(crate) type Rgb = [f64; 3];

/// A colour as somebody said it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Colour {
    /// Hue in degrees, saturation in per cent.
    Hs(f64, f64),
    /// Red, green, blue.
    Rgb(Rgb),
    /// With white.
    Rgbw(Rgb, f64),
    /// With cold and warm white.
    Rgbww(Rgb, f64, f64),
    /// In the CIE's plane.
    Xy(f64, f64),
    /// Degrees of white.
    Kelvin(f64),
}

impl Colour {
    /// As red, green and blue, as bright as can be.
    pub(crate) fn rgb(self) -> Rgb {
        match self {
            Self::Hs(hue, saturation) => hs_to_rgb(hue, saturation),
            Self::Rgb(rgb) => rgb,
            Self::Rgbw([r, g, b], w) => limited([r + w, g + w, b + w]),
            Self::Rgbww([r, g, b], cold, warm) => {
                limited([r + cold + warm, g + cold + warm, b + cold + warm])
            }
            Self::Xy(x, y) => xy_to_rgb(x, y),
            Self::Kelvin(kelvin) => kelvin_to_rgb(kelvin),
        }
    }

    /// As hue and saturation: as they were said, else to a thousandth.
    pub(crate) fn hs(self) -> (f64, f64) {
        match self {
            Self::Hs(hue, saturation) => (hue, saturation),
            other => {
                let (hue, saturation) = rgb_to_hs(other.rgb());
                (rounded(hue, 3), rounded(saturation, 3))
            }
        }
    }

    /// In the CIE's plane: as it was said, else to a thousandth.
    pub(crate) fn xy(self) -> (f64, f64) {
        match self {
            Self::Xy(x, y) => (x, y),
            other => {
                let (x, y) = rgb_to_xy(other.rgb().map(f64::round));
                (rounded(x, 3), rounded(y, 3))
            }
        }
    }

    /// The white that is nearest, in whole kelvin, by McCamy's formula; it says little of colours far from white.
    pub(crate) fn kelvin(self) -> f64 {
        if let Self::Kelvin(kelvin) = self {
            return kelvin;
        }
        let (x, y) = self.xy();
        let n = (x - 0.3320) / (0.1858 - y);
        let kelvin = 437.0 * n.powi(3) + 3_601.0 * n.powi(2) + 6_861.0 * n + 5_517.0;
        // Not a number where y is the formula's pole.
        if kelvin.is_finite() { kelvin.trunc() } else { 0.0 }
    }

    /// The attributes that tell it: `rgb_color`, `hs_color`, `xy_color`.
    pub(crate) fn attributes(self) -> [(&'static str, Value); 3] {
        let ([r, g, b], (hue, saturation), (x, y)) = (self.rgb(), self.hs(), self.xy());
        [
            ("hs_color", json!([rounded(hue, 3), rounded(saturation, 3)])),
            ("rgb_color", json!([whole(r), whole(g), whole(b)])),
            ("xy_color", json!([rounded(x, 3), rounded(y, 3)])),
        ]
    }
}

/// The nearest whole number from 0 to 255.
pub(crate) fn whole(part: f64) -> u8 {
    // Bounded before, so that nothing is cut off.
    part.round().clamp(0.0, 255.0) as u8
}

/// With so many digits behind the point.
pub(crate) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

/// Mired of kelvin and the other way round, whole as in Home Assistant: there and back, mired stay what they were.
pub(crate) fn mired(kelvin: f64) -> f64 {
    if kelvin > 0.0 {
        (1_000_000.0 / kelvin).floor()
    } else {
        0.0
    }
}

fn limited(rgb: Rgb) -> Rgb {
    let most = rgb.iter().copied().fold(0.0, f64::max);
    if most <= 255.0 {
        rgb
    } else {
        rgb.map(|part| part * 255.0 / most)
    }
}

fn hs_to_rgb(hue: f64, saturation: f64) -> Rgb {
    let (hue, saturation) = (hue.rem_euclid(360.0) / 60.0, saturation.clamp(0.0, 100.0) / 100.0);
    let part = |n: f64| {
        let k = (n + hue).rem_euclid(6.0);
        255.0 * (1.0 - saturation * k.min(4.0 - k).clamp(0.0, 1.0))
    };
    [part(5.0), part(3.0), part(1.0)]
}

fn rgb_to_hs([r, g, b]: Rgb) -> (f64, f64) {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let span = most - least;
    if span <= 0.0 || most <= 0.0 {
        return (0.0, 0.0);
    }
    let sixth = if most == r {
        ((g - b) / span).rem_euclid(6.0)
    } else if most == g {
        (b - r) / span + 2.0
    } else {
        (r - g) / span + 4.0
    };
    (sixth * 60.0, span / most * 100.0)
}

fn rgb_to_xy(rgb: Rgb) -> (f64, f64) {
    let linear = rgb.map(|part| {
        let part = part / 255.0;
        if part > 0.04045 {
            ((part + 0.055) / 1.055).powf(2.4)
        } else {
            part / 12.92
        }
    });
    let [r, g, b] = linear;
    let x = r * 0.664_511 + g * 0.154_324 + b * 0.162_028;
    let y = r * 0.283_881 + g * 0.668_433 + b * 0.047_685;
    let z = r * 0.000_088 + g * 0.072_310 + b * 0.986_039;
    let sum = x + y + z;
    // Black has no colour: the white point stands for it.
    if sum <= 0.0 {
        (0.3127, 0.3290)
    } else {
        (x / sum, y / sum)
    }
}

fn xy_to_rgb(x: f64, y: f64) -> Rgb {
    let (x, y) = (x.clamp(0.0, 1.0), y.clamp(0.000_01, 1.0));
    let (big_x, big_z) = (x / y, (1.0 - x - y) / y);
    let linear = [
        big_x * 1.656_492 - 0.354_851 - big_z * 0.255_038,
        -big_x * 0.707_196 + 1.655_397 + big_z * 0.036_152,
        big_x * 0.051_713 - 0.121_364 + big_z * 1.011_530,
    ];
    let curved = linear.map(|part| {
        if part <= 0.003_130_8 {
            12.92 * part
        } else {
            1.055 * part.powf(1.0 / 2.4) - 0.055
        }
        .max(0.0)
    });
    let most = curved.iter().copied().fold(0.0, f64::max);
    if most <= 0.0 {
        [0.0; 3]
    } else {
        curved.map(|part| (part * 255.0 / most).round())
    }
}

/// A white of so many degrees, after Tanner Helland's fit of the black body's curve.
fn kelvin_to_rgb(kelvin: f64) -> Rgb {
    let t = kelvin.clamp(1_000.0, 40_000.0) / 100.0;
    let red = if t <= 66.0 {
        255.0
    } else {
        329.698_727 * (t - 60.0).powf(-0.133_204_76)
    };
    let green = if t <= 66.0 {
        99.470_802_6 * t.ln() - 161.119_568
    } else {
        288.122_169_5 * (t - 60.0).powf(-0.075_514_85)
    };
    let blue = if t >= 66.0 {
        255.0
    } else if t <= 19.0 {
        0.0
    } else {
        138.517_731_2 * (t - 10.0).ln() - 305.044_792_7
    };
    [red, green, blue].map(|part| part.clamp(0.0, 255.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_there_and_back() {
        for rgb in [
            [255.0, 0.0, 0.0],
            [0.0, 255.0, 0.0],
            [0.0, 0.0, 255.0],
            [255.0, 128.0, 64.0],
            [255.0; 3],
        ] {
            let (hue, saturation) = Colour::Rgb(rgb).hs();
            let back = Colour::Hs(hue, saturation).rgb();
            assert!(
                rgb.iter().zip(back).all(|(one, other)| (one - other).abs() < 0.5),
                "{rgb:?} {back:?}"
            );
            let (x, y) = Colour::Rgb(rgb).xy();
            // A thousandth is much near blue.
            let back = Colour::Xy(x, y).rgb();
            assert!(
                rgb.iter()
                    .zip(back)
                    .all(|(one, other)| (one - other).abs() < 12.0),
                "{rgb:?} {back:?}"
            );
        }
    }

    #[test]
    fn known_colours() {
        assert_eq!(Colour::Hs(0.0, 100.0).rgb(), [255.0, 0.0, 0.0]);
        assert_eq!(Colour::Rgb([0.0, 255.0, 0.0]).hs(), (120.0, 100.0));
        let (x, y) = Colour::Rgb([255.0, 0.0, 0.0]).xy();
        assert_eq!((rounded(x, 3), rounded(y, 3)), (0.701, 0.299));
        assert_eq!((mired(2_700.0), mired(370.0)), (370.0, 2_702.0));
        assert!((50..=1_000).all(|one| mired(mired(f64::from(one))) == f64::from(one)));
        for (x, y, kelvin) in [
            (0.5119, 0.4147, 2_136.0),
            (0.368, 0.3686, 4_302.0),
            (0.4448, 0.4066, 2_893.0),
            (0.1, 0.8, 8_645.0),
            (0.5, 0.4, 2_140.0),
        ] {
            assert_eq!(Colour::Xy(x, y).kelvin(), kelvin, "{x} {y}");
        }
        let [r, g, b] = Colour::Kelvin(2_700.0).rgb().map(whole);
        assert!(r == 255 && g > b && b > 50, "{r} {g} {b}");
        for wild in [f64::NAN, f64::INFINITY, -5.0, 1e300] {
            let _ = (
                Colour::Xy(wild, wild).rgb(),
                Colour::Hs(wild, wild).rgb(),
                Colour::Kelvin(wild).rgb(),
                Colour::Xy(wild, wild).kelvin(),
                mired(wild),
            );
        }
    }
}
