// NumPy's files: every type and order, and files that lie.
#include "datasets/import/numpy.h"

#include "tests/datasets/import/imported.h"

namespace lockstep {
namespace {

using NumpyTest = ImportTest;

const std::map<std::string, DType> kTypes = {
    {"u1", DType::kU8},  {"u2", DType::kI32}, {"u4", DType::kI64}, {"u8", DType::kI64},
    {"i1", DType::kI8},  {"i2", DType::kI16}, {"i4", DType::kI32}, {"i8", DType::kI64},
    {"f2", DType::kF16}, {"f4", DType::kF32}, {"f8", DType::kF64}, {"b1", DType::kU8}};

TEST_F(NumpyTest, EveryTypeByteOrderAndOrderOfElements) {
  for (const char* order : {"C", "F"}) {
    for (const char* endian : {"little", "big"}) {
      for (const auto& [kind, dtype] : kTypes) {
        const std::string name = text(order, '_', endian, '_', kind);
        const auto source = open(fixture("types.npz"), {{"x", name}});
        ASSERT_EQ(source->arrays().size(), 1u);
        EXPECT_EQ(source->arrays()[0].name, "x");
        EXPECT_EQ(source->arrays()[0].dtype, dtype) << name;
        EXPECT_EQ(source->arrays()[0].sample, (Shape{2, 3}));
        Doubles expected;
        for (int i = 0; i < 24; ++i) {
          expected.push_back(kind[0] == 'f'   ? i / 2.0 - 3
                             : kind[0] == 'i' ? i - 3
                             : kind[0] == 'b' ? i % 3 == 0
                                              : i);
        }
        EXPECT_EQ(values(*source, 0), expected) << name;
        EXPECT_EQ(values(*source, 0, {2, 3}),
                  Doubles(expected.begin() + 12, expected.begin() + 18));
      }
    }
  }
}

TEST_F(NumpyTest, ArraysOfAnArchive) {
  const auto unnamed = open(fixture("unnamed.npz"));
  ASSERT_EQ(unnamed->arrays().size(), 2u);
  EXPECT_EQ(unnamed->arrays()[0].name, "x");
  EXPECT_EQ(unnamed->arrays()[1].name, "y");
  EXPECT_EQ(values(*unnamed, 0), (Doubles{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(values(*unnamed, 1), (Doubles{2, 0, 1}));
  const auto test =
      open(fixture("unequal.npz"), {{"x", "x_test"}, {"y", "y_test"}, {"classes", "a,b"}});
  EXPECT_EQ(test->size(), 2);
  EXPECT_EQ(values(*test, 1), (Doubles{1, 1}));
  EXPECT_EQ(attribute<Words>(*test, 1, "class_names"), (Words{"a", "b"}));
  EXPECT_EQ(refused(fixture("unequal.npz")),
            fixture("unequal.npz") +
                ": array \"x_train\": the arrays have unequal numbers of samples: x_train 3, "
                "y_train 3, x_test 2, y_test 2; choose with --x and --y");
  EXPECT_EQ(
      refused(fixture("unequal.npz"), {{"x", "x"}}),
      fixture("unequal.npz") + ": has no array \"x\"; it has x_train, y_train, x_test, y_test");
}

TEST_F(NumpyTest, ArrayAndTargetsInTwoFiles) {
  const auto source = open(fixture("x.npy"), {{"y", fixture("y.npy")}, {"sample-shape", "3,1"}});
  EXPECT_EQ(source->size(), 4);
  EXPECT_EQ(source->arrays()[0].sample, (Shape{3, 1}));
  EXPECT_EQ(values(*source, 0, {1, 3}), (Doubles{3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(values(*source, 1), (Doubles{0, 1, 1, 0}));
  EXPECT_EQ(refused(fixture("x.npy"), {{"sample-shape", "2"}}),
            fixture("x.npy") + ": samples of (3) do not make samples of (2)");
}

TEST_F(NumpyTest, WhatIsNoNumbersIsRefused) {
  EXPECT_EQ(refused(fixture("objects.npy")),
            fixture("objects.npy") +
                ": elements of type '|O' cannot be imported; expected bool, integers, or floats of "
                "16, 32 or 64 bits (these are Python objects)");
  EXPECT_EQ(refused(fixture("fields.npy")),
            fixture("fields.npy") + ": holds records of several fields; save each field by itself");
  EXPECT_STARTS(refused(fixture("complex.npy")),
                fixture("complex.npy") + ": elements of type '<c8' cannot be imported");
  EXPECT_STARTS(refused(fixture("scalar.npy")), fixture("scalar.npy") + ": holds a single number");
  EXPECT_STARTS(refused(fixture("none.npy")), fixture("none.npy") + ": has shape (0, 3)");
  EXPECT_EQ(refused(fixture("too-large.npy")),
            fixture("too-large.npy") + ": row 1, element 0: does not fit into i64");
}

std::string npy(const std::string& header, const std::string& elements) {
  std::string out = "\x93NUMPY";
  out += std::string("\x01\x00", 2);
  out += static_cast<char>(header.size() & 0xff);
  out += static_cast<char>(header.size() >> 8);
  return out + header + elements;
}

TEST_F(NumpyTest, DamagedFilesAreRefusedWithoutTakingMemory) {
  const std::string eight(8, '\0');
  const auto header = [&](const std::string& words, const std::string& elements) {
    return refused_content(npy(words, elements), "npy");
  };
  EXPECT_EQ(header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", eight), "");
  EXPECT_EQ(header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "1234"),
            ": has 4 bytes of elements, but its header claims 8; is it truncated?");
  EXPECT_EQ(header("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", eight),
            ": has 8 bytes of elements, but its header claims 4; is it truncated?");
  EXPECT_EQ(header("{'descr':'<f4','fortran_order':True,'shape':(4294967296,4294967296,2)}", eight),
            ": has 8 bytes of elements, but its header claims more than 2^64; is it truncated?");
  EXPECT_STARTS(header("{'descr':'<f4','fortran_order':True,'shape':(1,1,1,1,1,1,1,1,2)}", eight),
                ": has 9 dimensions");
  EXPECT_STARTS(header("{'descr':'<f4','fortran_order':True,'shape':(-2,)}", eight),
                ": the header of the array is damaged at byte 45: expected a whole number");
  EXPECT_STARTS(header("{'descr':'<f4','shape':(2,)}", eight),
                ": the header of the array is damaged at byte 28: descr, fortran_order or shape");
  for (const char* words : {"", "{", "{'descr", "{'descr':", "{'descr':'<f4'", "{'x':1}", "[]",
                            "{'descr':'<f4','fortran_order':Maybe}", "{'shape':(2 3)}",
                            "{'shape':(99999999999999999999,)}"}) {
    EXPECT_STARTS(header(words, eight), ": the header of the array is damaged") << words;
  }
  for (const char* type : {"<f3", "<f1", "f4", "<", "", "!f4", "<i0", "<u16", "<U4"}) {
    EXPECT_STARTS(header(text("{'descr':'", type, "','fortran_order':False,'shape':(2,)}"), eight),
                  text(": elements of type '", type, "' cannot be imported"));
  }
  std::string far = npy("", "");
  far[6] = 2;
  EXPECT_STARTS(refused(file("a.npy", far + "\xff\xff")), path("a.npy") +
                                                              ": the header of the array "
                                                              "claims 4294901760 bytes");
  far[6] = 9;
  EXPECT_STARTS(refused(file("a.npy", far)), path("a.npy") + ": is of version 9");
  EXPECT_STARTS(refused(file("a.npy", "\x93NUMPY")), path("a.npy") + ": truncated");
  EXPECT_STARTS(refused(file("a.npy", "hello, world"), {}, "npy"),
                path("a.npy") + ": is not a NumPy array");
}

// A shard would refuse them when all is read.
TEST_F(NumpyTest, NamesThatAShardCannotHold) {
  const std::string folder = std::string(LOCKSTEP_SOURCE_DIR) + "/tests/fuzz/corpus/npz/";
  for (const auto& [file, reason] :
       {std::pair{"within.npz",
                  "arrays are named \"x\" and \"x/y\", which a shard cannot hold together"},
        {"nameless.npz", "an array is named \"\", which is no name for an array of a shard"}}) {
    EXPECT_EQ(refused(folder + file),
              folder + file + ": " + reason + "; choose arrays with --x and --y");
  }
  EXPECT_EQ(open(folder + "within.npz", {{"x", "x/y"}})->arrays().at(0).name, "x");
}

TEST_F(NumpyTest, DamagedArchives) {
  const std::string good = local_files().read(fixture("types.npz"));
  EXPECT_STARTS(refused(file("a.npz", good.substr(0, good.size() / 2))),
                path("a.npz") + ": is no zip archive that can be read: ");
  EXPECT_STARTS(refused(file("a.npz", "PK")), path("a.npz") + ": is no zip archive");
  EXPECT_STARTS(refused(file("a.npz", "")), path("a.npz") + ": ");
  std::string flipped = good;
  flipped[120] = static_cast<char>(flipped[120] ^ 0x55);  // inside the first array
  EXPECT_STARTS(refused(file("a.npz", flipped), {{"x", "C_little_u1"}}),
                path("a.npz") + ": array \"C_little_u1\": cannot be unpacked: ");
}

}  // namespace
}  // namespace lockstep
