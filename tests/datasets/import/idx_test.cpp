// IDX files: images and labels, packed or not, and files that lie.
#include "datasets/import/idx.h"

#include "tests/datasets/import/imported.h"

namespace lockstep {
namespace {

using IdxTest = ImportTest;

std::string idx(int type, const std::vector<std::uint32_t>& dims, const std::string& elements) {
  std::string out{'\0', '\0', static_cast<char>(type), static_cast<char>(dims.size())};
  for (const std::uint32_t extent : dims) {
    for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(extent >> shift & 0xff);
  }
  return out + elements;
}

TEST_F(IdxTest, ImagesAndTheLabelsBeside) {
  for (const char* name : {"small-images-idx3-ubyte", "packed-images-idx3-ubyte.gz"}) {
    const auto source = open(fixture(name));
    ASSERT_EQ(source->arrays().size(), 2u) << name;
    EXPECT_EQ(source->arrays()[0].sample, (Shape{2, 2, 1}));
    EXPECT_EQ(source->arrays()[0].dtype, DType::kU8);
    EXPECT_EQ(values(*source, 0), (Doubles{0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23}));
    EXPECT_EQ(values(*source, 0, {1, 2}), (Doubles{10, 11, 12, 13}));
    EXPECT_EQ(values(*source, 1), (Doubles{2, 0, 1}));
  }
  const std::string images = fixture("small-images-idx3-ubyte");
  EXPECT_EQ(open(images, {{"labels", "none"}})->arrays().size(), 1u);
  EXPECT_EQ(open(images, {{"sample-shape", "4"}})->arrays()[0].sample, (Shape{4}));
  const auto named =
      open(images, {{"labels", fixture("packed-labels-idx1-ubyte.gz")}, {"classes", "a,b,c"}});
  EXPECT_EQ(attribute<Words>(*named, 1, "class_names"), (Words{"a", "b", "c"}));
}

TEST_F(IdxTest, TypesAreBigEndian) {
  const auto of = [&](int type, const std::string& elements) {
    return values(*open(file("x", idx(type, {1, 2}, elements))), 0);
  };
  using namespace std::string_literals;
  EXPECT_EQ(of(0x09, "\xff\x02"s), (Doubles{-1, 2}));
  EXPECT_EQ(of(0x0B, "\xff\xfe\x01\x00"s), (Doubles{-2, 256}));
  EXPECT_EQ(of(0x0C, "\xff\xff\xff\xfd\x00\x01\x00\x00"s), (Doubles{-3, 65536}));
  EXPECT_EQ(of(0x0D, "\x3f\x80\x00\x00\xc0\x00\x00\x00"s), (Doubles{1, -2}));
  EXPECT_EQ(of(0x0E, "\x3f\xf0\0\0\0\0\0\0\xc0\0\0\0\0\0\0\0"s), (Doubles{1, -2}));
}

TEST_F(IdxTest, FilesThatLieAreRefused) {
  const std::string four = "1234";
  const auto message = [&](const std::string& content) { return refused_content(content, "idx"); };
  EXPECT_EQ(message(idx(8, {2, 2}, four)), "");
  EXPECT_EQ(message(idx(8, {2, 2}, "123")),
            ": has 3 bytes of elements, but (2, 2) u8 takes 4; is it truncated?");
  EXPECT_EQ(message(idx(8, {2, 2}, "12345")),
            ": has 5 bytes of elements, but (2, 2) u8 takes 4; is it truncated?");
  EXPECT_EQ(message(idx(14, {0xffffffff, 0xffffffff, 0xffffffff}, four)),
            ": has 4 bytes of elements, but (4294967295, 4294967295, 4294967295) f64 takes more "
            "than 2^64; is it truncated?");
  EXPECT_EQ(message(idx(8, {0, 2}, "")), ": dimension 0 is 0: there are no samples");
  EXPECT_EQ(message(idx(8, {}, "")), ": has 0 dimensions, expected 1 .. 7");
  EXPECT_EQ(message(idx(8, std::vector<std::uint32_t>(8, 1), "1")),
            ": has 8 dimensions, expected 1 .. 7");
  EXPECT_EQ(message(idx(10, {1}, "1")),
            ": is not an IDX file: it begins with the bytes 0 0 10, expected 0 0 and a type (8, 9, "
            "11 .. 14)");
  EXPECT_EQ(message("\x01\x02"), ": truncated: it has 2 bytes, expected at least 4");
  EXPECT_STARTS(message(idx(8, {2}, "12")),
                ": holds one number a sample, so it is a file of labels");
  file("a", idx(8, {2, 2}, four));
  const std::string three = file("three", idx(8, {3}, "123"));
  EXPECT_EQ(refused(path("a"), {{"labels", three}}),
            three + ": has 3 labels, but " + path("a") + " has 2 samples");
  EXPECT_EQ(refused(path("a"), {{"labels", path("a")}}),
            path("a") + ": has shape (2, 2), expected one label a sample");
  EXPECT_EQ(refused(path("a"), {{"labels", path("absent")}}),
            path("absent") + ": cannot open: No such file or directory");
  EXPECT_STARTS(refused(path("a"), {{"label", "y"}}),
                "--label is an option of csv, but the data is "
                "read as idx");
}

TEST_F(IdxTest, DamagedGzipIsRefused) {
  std::string packed = local_files().read(fixture("packed-images-idx3-ubyte.gz"));
  EXPECT_EQ(refused(file("x.gz", packed.substr(0, packed.size() - 6)), {}, "idx"),
            path("x.gz") + ": cannot be unpacked: it is truncated");
  packed[packed.size() - 8] = static_cast<char>(packed[packed.size() - 8] ^ 1);  // its checksum
  EXPECT_STARTS(refused(file("x.gz", packed), {}, "idx"),
                path("x.gz") + ": cannot be unpacked: its gzip data is damaged");
}

}  // namespace
}  // namespace lockstep
