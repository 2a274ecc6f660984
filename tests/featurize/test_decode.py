"""Every way a picture can come, and what it must look like to the network."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from modalsplit.featurize._decode import read_image

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def encoded(image, file_format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def gradient(dtype, top):
    return np.linspace(0, top, 256).astype(dtype).reshape(16, 16)


@pytest.fixture
def red():
    return Image.new("RGB", (4, 3), RED)


def test_paths_bytes_images_and_arrays_give_the_same_picture(red, tmp_path):
    path = tmp_path / "red.png"
    red.save(path)
    ways = [path, str(path), path.read_bytes(), bytearray(path.read_bytes()), red, np.asarray(red)]
    assert {read_image(way).tobytes() for way in ways} == {red.tobytes()}


def test_a_home_folder_is_found(red, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    red.save(tmp_path / "red.png")
    assert read_image("~/red.png").getpixel((0, 0)) == RED


def test_no_file_stays_open(red, tmp_path):
    path = tmp_path / "red.png"
    red.save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        read_image(path)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "RGBX", "LA", "PA", "RGBA", "RGBa"])
def test_every_mode_becomes_rgb(mode, red):
    through = {"PA": "P", "RGBa": "RGBA", "HSV": "RGB"}.get(mode)
    image = (red.convert(through) if through else red).convert(mode)
    decoded = read_image(image)
    assert decoded.mode == "RGB"
    if mode not in ("1", "L", "LA"):
        np.testing.assert_allclose(decoded.getpixel((0, 0)), RED, atol=2)


def test_exif_orientation_is_applied():
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), GREEN)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    decoded = read_image(encoded(image, exif=exif))
    assert decoded.size == (1, 2)
    assert decoded.getpixel((0, 0)) == RED


def test_transparent_pixels_are_white_whatever_colour_they_hide():
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (255, 0, 0, 128))
    decoded = read_image(encoded(image))
    assert decoded.getpixel((0, 0)) == WHITE
    np.testing.assert_allclose(decoded.getpixel((1, 0)), (255, 127, 127), atol=1)


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
def test_a_palette_may_have_a_transparent_colour(transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *GREEN])
    image.putpixel((1, 0), 1)
    decoded = read_image(encoded(image, transparency=transparency))
    assert [decoded.getpixel((x, 0)) for x in (0, 1)] == [WHITE, GREEN]


@pytest.mark.parametrize(
    ("array", "white"),
    [
        (gradient(np.uint16, 65535), 65535),
        (gradient(np.int32, 65535), 65535),
        (gradient(np.int32, 255), 255),
        (gradient(np.float32, 255), 255),
        (gradient(np.float32, 1), 1),
    ],
)
def test_deep_pictures_are_scaled_and_not_clipped_to_white(array, white):
    decoded = np.asarray(read_image(Image.fromarray(array)))
    np.testing.assert_allclose(decoded[:, :, 0], array / white * 255, atol=0.51)


def test_a_16_bit_png_is_scaled():
    array = gradient(np.uint16, 65535)
    decoded = np.asarray(read_image(encoded(Image.fromarray(array))))
    np.testing.assert_allclose(decoded[:, :, 0], array / 257, atol=0.51)


@pytest.mark.parametrize("value", [-1.0, 1e6, np.nan])
def test_a_float_picture_without_a_clear_white_is_refused(value):
    array = gradient(np.float32, 255)
    array[0, 0] = value
    with pytest.raises(ValueError, match="cannot tell black from white"):
        read_image(Image.fromarray(array))


def test_an_animation_is_its_first_frame(red):
    data = encoded(red, "GIF", save_all=True, append_images=[Image.new("RGB", red.size, GREEN)])
    assert read_image(data).getpixel((0, 0)) == RED


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 1), (4, 3, 3), (4, 3, 4)])
def test_grey_colour_and_transparent_arrays_are_read(shape):
    decoded = read_image(np.full(shape, 255, dtype=np.uint8))
    assert (decoded.mode, decoded.size, decoded.getpixel((0, 0))) == ("RGB", (3, 4), WHITE)


@pytest.mark.parametrize(
    "array",
    [
        np.ones((4, 3, 3)),
        np.zeros((4, 3, 2), np.uint8),
        np.zeros((3,), np.uint8),
        np.zeros((0, 3, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused_with_their_type_and_shape(array):
    with pytest.raises(ValueError, match=r"must be uint8"):
        read_image(array)


def test_a_given_picture_is_not_changed():
    image = Image.new("RGBA", (2, 2), (9, 9, 9, 0))
    before = image.tobytes()
    read_image(image)
    assert (image.mode, image.tobytes()) == ("RGBA", before)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>not found</html>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        encoded(Image.effect_noise((64, 64), 50), "JPEG")[:900],
        encoded(Image.effect_noise((64, 64), 50), "PNG")[:900],
        b"\x89PNG\r\n\x1a\n" + b"\0" * 40,
    ],
    ids=["empty", "html", "svg", "cut jpeg", "cut png", "broken png"],
)
def test_broken_data_is_a_value_error_with_a_reason(data):
    with pytest.raises(ValueError, match=r"Error: "):
        read_image(data)


def test_a_cut_off_picture_that_is_open_already_is_refused_too():
    data = encoded(Image.effect_noise((64, 64), 50), "JPEG")[:900]
    with Image.open(io.BytesIO(data)) as image, pytest.raises(ValueError, match="OSError: "):
        read_image(image)


def test_a_decompression_bomb_is_refused(red, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with pytest.raises(ValueError, match="DecompressionBombError"):
        read_image(encoded(red))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"FileNotFoundError: .*gone\.jpg"):
        read_image(tmp_path / "gone.jpg")


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match="int is no picture"):
        read_image(3)
