// Pictures: what is decoded of each kind, resizing, and files that are broken.
#include "datasets/import/picture.h"

#include <cmath>

#include "datasets/import/npy_array.h"
#include "tests/datasets/import/imported.h"

namespace lockstep {
namespace {

using Bytes = std::vector<std::uint8_t>;

Picture read(const std::string& name) {
  return decode_picture(name, local_files().read(fixture(name)));
}

Bytes grey() {
  Bytes out;
  for (int i = 0; i < 30; ++i) out.push_back(static_cast<std::uint8_t>(8 * i));
  return out;
}

Bytes colour() {
  Bytes out;
  for (int i = 0; i < 30; ++i) {
    for (const int value : {8 * i, 255 - 8 * i, 40 * (i / 6)})
      out.push_back(static_cast<std::uint8_t>(value));
  }
  return out;
}

std::string refused(const std::string& content) {
  return message_of([&] { decode_picture("p", content); });
}

TEST(Picture, EveryKindOfPng) {
  for (const char* name : {"grey.png", "grey-alpha.png", "grey-16.png"}) {
    const Picture picture = read(name);
    EXPECT_EQ(picture.height, 5);
    EXPECT_EQ(picture.width, 6);
    EXPECT_EQ(picture.channels, 1) << name;
    EXPECT_EQ(picture.pixels, grey()) << name;
  }
  for (const char* name : {"colour.png", "alpha.png", "interlaced.png"}) {
    EXPECT_EQ(read(name).channels, 3) << name;
    EXPECT_EQ(read(name).pixels, colour()) << name;
  }
  EXPECT_EQ(read("palette.png").channels, 3);
  EXPECT_EQ(read("palette.png").pixels, read("palette-colours.png").pixels);
  const Picture bits = read("bits.png");
  ASSERT_EQ(bits.pixels.size(), 30u);
  for (std::size_t i = 0; i < 30; ++i) EXPECT_EQ(bits.pixels[i], i < 13 ? 0 : 255);
}

TEST(Picture, EveryKindOfJpeg) {
  for (const char* name : {"colour.jpg", "progressive.jpg", "grey.jpg"}) {
    const Picture picture = read(name);
    NpyArray expected(std::make_unique<InputFile>(fixture(name) + ".npy", "."), ".");
    EXPECT_EQ(picture.height, 16);
    EXPECT_EQ(picture.width, 24);
    ASSERT_EQ(static_cast<std::int64_t>(picture.pixels.size()), expected.shape().elements())
        << name;
    std::vector<std::byte> bytes(picture.pixels.size());
    expected.read({0, 16}, bytes.data());
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      // Versions of the library round differently.
      ASSERT_LE(std::abs(picture.pixels[i] - std::to_integer<int>(bytes[i])), 2)
          << name << ' ' << i;
    }
  }
}

TEST(Picture, HeadersAreReadAlone) {
  for (const auto& [name, channels] : {std::pair{"grey.png", 1}, {"palette.png", 3}}) {
    const PictureHeader header = picture_header(fixture(name));
    EXPECT_EQ(header.height, 5);
    EXPECT_EQ(header.width, 6);
    EXPECT_EQ(header.channels, channels);
  }
  EXPECT_EQ(picture_header(fixture("colour.jpg")).width, 24);
  // A comment of more than 64 KiB before the header.
  TemporaryDirectory directory;
  const std::string jpeg = local_files().read(fixture("grey.jpg"));
  std::string comments;
  for (int i = 0; i < 2; ++i) comments += "\xFF\xFE\xF0\x02" + std::string(0xF000, 'c');
  local_files().write_atomic(directory.path("a.jpg"),
                             jpeg.substr(0, 2) + comments + jpeg.substr(2));
  EXPECT_EQ(picture_header(directory.path("a.jpg")).width, 24);
}

TEST(Picture, ChannelsAreConverted) {
  const Picture three = with_channels(read("grey.png"), 3);
  ASSERT_EQ(three.pixels.size(), 90u);
  EXPECT_EQ(three.pixels[33], 88);
  EXPECT_EQ(three.pixels[34], 88);
  EXPECT_EQ(three.pixels[35], 88);
  const Picture one = with_channels(read("colour.png"), 1);
  const Bytes rgb = colour();
  for (std::size_t i = 0; i < 30; ++i) {
    const double expected = 0.299 * rgb[3 * i] + 0.587 * rgb[3 * i + 1] + 0.114 * rgb[3 * i + 2];
    EXPECT_NEAR(one.pixels[i], expected, 0.51);
  }
}

TEST(Picture, ResizingIsBilinear) {
  const Picture row{1, 2, 1, {0, 100}};
  EXPECT_EQ(resized(row, 1, 4).pixels, (Bytes{0, 25, 75, 100}));
  EXPECT_EQ(resized(row, 3, 1).pixels, (Bytes{50, 50, 50}));
  const Picture square{2, 2, 1, {0, 40, 80, 120}};
  EXPECT_EQ(resized(square, 1, 1).pixels, (Bytes{60}));
  EXPECT_EQ(resized(square, 2, 2).pixels, square.pixels);
  EXPECT_EQ(resized({1, 2, 3, {0, 10, 20, 100, 110, 120}}, 1, 1).pixels, (Bytes{50, 60, 70}));
  // Against the formula, element by element.
  const Picture from = read("colour.png");
  const Picture to = resized(from, 7, 4);
  for (int y = 0; y < 7; ++y) {
    for (int x = 0; x < 4; ++x) {
      for (int c = 0; c < 3; ++c) {
        const double v = std::clamp((y + 0.5) * 5 / 7 - 0.5, 0.0, 4.0);
        const double u = std::clamp((x + 0.5) * 6 / 4 - 0.5, 0.0, 5.0);
        double sum = 0;
        for (int i = 0; i < 5; ++i) {
          for (int j = 0; j < 6; ++j) {
            sum += std::max(0.0, 1 - std::abs(v - i)) * std::max(0.0, 1 - std::abs(u - j)) *
                   from.pixels[static_cast<std::size_t>((i * 6 + j) * 3 + c)];
          }
        }
        EXPECT_NEAR(to.pixels[static_cast<std::size_t>((y * 4 + x) * 3 + c)], sum, 0.51);
      }
    }
  }
}

TEST(Picture, BrokenFilesAreRefusedInOneLine) {
  EXPECT_EQ(refused(""), "p: is neither a PNG nor a JPEG picture: it is empty");
  EXPECT_EQ(refused("GIF89a"), "p: is neither a PNG nor a JPEG picture");
  const std::string png = local_files().read(fixture("colour.png"));
  for (std::size_t size = 8; size < png.size(); size += 7) {
    EXPECT_EQ(refused(png.substr(0, size)), "p: this PNG picture cannot be read: it is truncated");
  }
  std::string damaged = png;
  damaged[45] = static_cast<char>(damaged[45] ^ 1);  // inside the pixels
  EXPECT_STARTS(refused(damaged), "p: this PNG picture cannot be read: ");
  EXPECT_EQ(
      refused(local_files().read(fixture("huge.png"))),
      "p: this PNG picture cannot be read: its header claims more pixels than the file holds");
  const std::string jpeg = local_files().read(fixture("colour.jpg"));
  EXPECT_EQ(refused(jpeg.substr(0, jpeg.size() - 20)),
            "p: this JPEG picture cannot be read: Premature end of JPEG file");
  for (std::size_t size = 3; size < jpeg.size(); size += 11) {
    EXPECT_STARTS(refused(jpeg.substr(0, size)), "p: this JPEG picture cannot be read: ") << size;
  }
  EXPECT_EQ(
      refused(local_files().read(fixture("cmyk.jpg"))),
      "p: this JPEG picture cannot be read: it has neither 1 nor 3 channels (CMYK?); convert it "
      "to RGB");
  std::string large = jpeg;
  const std::size_t frame = large.find("\xFF\xC0");
  ASSERT_NE(frame, std::string::npos);
  large.replace(frame + 5, 4, "\x27\x10\x27\x10");  // 10000 x 10000
  EXPECT_EQ(
      refused(large),
      "p: this JPEG picture cannot be read: its header claims more pixels than the file holds");
  large.replace(frame + 5, 4, "\xFF\xDC\xFF\xDC");
  EXPECT_EQ(refused(large), "p: this JPEG picture cannot be read: it has too many pixels");
}

// Whatever is damaged, an error is thrown or a picture of the right size comes out.
TEST(Picture, AnyDamagedByteIsHarmless) {
  for (const char* name :
       {"palette.png", "interlaced.png", "grey-16.png", "colour.jpg", "progressive.jpg"}) {
    const std::string good = local_files().read(fixture(name));
    for (std::size_t at = 0; at < good.size(); ++at) {
      std::string content = good;
      content[at] = static_cast<char>(content[at] ^ (1 << at % 8));
      try {
        const Picture picture = decode_picture("p", content);
        EXPECT_EQ(static_cast<std::int64_t>(picture.pixels.size()),
                  picture.height * picture.width * picture.channels);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kBadInput) << error.what();
        EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
      }
    }
  }
}

}  // namespace
}  // namespace lockstep
