// Folders of pictures: classes, sizes, channels, and what is in the way.
#include "datasets/import/pictures.h"

#include <filesystem>

#include "datasets/import/shard_writer.h"
#include "tests/datasets/import/imported.h"

namespace lockstep {
namespace {

namespace fs = std::filesystem;

class PicturesTest : public ImportTest {
 protected:
  // Copies a fixture into the folder that is imported.
  void put(const std::string& name, const std::string& to) const {
    fs::create_directories(fs::path(path("p/" + to)).parent_path());
    fs::copy_file(fixture(name), path("p/" + to), fs::copy_options::overwrite_existing);
  }
  std::string folder() const { return path("p"); }
};

TEST_F(PicturesTest, FoldersAreClasses) {
  put("grey.png", "dog/2.png");
  put("bits.png", "dog/1.PNG");
  put("grey.png", "cat/deeper/a.png");
  put("grey.png", "cat/.hidden.png");
  put("x.npy", "cat/notes.txt");
  const auto source = open(folder());
  ASSERT_EQ(source->arrays().size(), 2u);
  EXPECT_EQ(source->arrays()[0].sample, (Shape{5, 6, 1}));
  EXPECT_EQ(source->arrays()[0].dtype, DType::kU8);
  EXPECT_EQ(values(*source, 1), (Doubles{0, 1, 1}));
  EXPECT_EQ(attribute<Words>(*source, 1, "class_names"), (Words{"cat", "dog"}));
  EXPECT_EQ(values(*source, 0, {0, 1})[7], 56);
  EXPECT_EQ(values(*source, 0, {1, 2})[7], 0);  // 1.PNG
  EXPECT_EQ(values(*source, 0, {2, 3})[29], 232);
  EXPECT_EQ(source->notes(), Words{"1 files that are no pictures were passed over"});
  const auto named = open(folder(), {{"classes", "dog,cat"}, {"colour", "rgb"}});
  EXPECT_EQ(values(*named, 1), (Doubles{0, 0, 1}));
  EXPECT_EQ(named->arrays()[0].sample, (Shape{5, 6, 3}));
}

TEST_F(PicturesTest, WithoutFoldersThereAreNoLabels) {
  put("grey.png", "b.png");
  put("colour.png", "a.png");
  const auto source = open(folder());
  ASSERT_EQ(source->arrays().size(), 1u);
  EXPECT_EQ(source->arrays()[0].sample, (Shape{5, 6, 3}));  // one is in colour
  EXPECT_EQ(values(*source, 0, {0, 1})[1], 255);
  EXPECT_EQ(values(*source, 0, {1, 2})[1], 0);
  EXPECT_EQ(open(folder(), {{"colour", "grey"}})->arrays()[0].sample, (Shape{5, 6, 1}));
}

TEST_F(PicturesTest, UnequalSizesNeedResizing) {
  put("grey.png", "a/1.png");
  put("grey.jpg", "b/2.jpg");
  EXPECT_EQ(refused(folder()), path("p/b/2.jpg") + ": has 16 x 24 pixels (height x width), but " +
                                   path("p/a/1.png") + " has 5 x 6; give --resize H,W");
  const auto source = open(folder(), {{"resize", "4,3"}});
  EXPECT_EQ(source->arrays()[0].sample, (Shape{4, 3, 1}));
  EXPECT_EQ(values(*source, 0).size(), 24u);
}

TEST_F(PicturesTest, WhatIsInTheWayIsNamed) {
  put("grey.png", "a/1.png");
  EXPECT_STARTS(refused(folder(), {{"resize", "4"}}), "--resize: found 4, expected H,W");
  EXPECT_STARTS(refused(folder(), {{"resize", "0,4"}}), "--resize: found '0'");
  EXPECT_STARTS(refused(folder(), {{"resize", "100000,100000"}}),
                "--resize: 100000,100000 has too many pixels");
  EXPECT_STARTS(refused(folder(), {{"colour", "red"}}), "--colour expects one of auto, grey, rgb");
  EXPECT_EQ(refused(folder(), {{"classes", "b"}}),
            folder() + ": the folder \"a\" is none of the classes of --classes");
  EXPECT_STARTS(refused(folder(), {{"classes", "a,b"}}), folder() + ": has no folder \"b\"");
  EXPECT_EQ(refused(folder(), {{"classes", "a,a"}}), "--classes: \"a\" is named twice");
  fs::create_directory(path("p/empty"));
  EXPECT_EQ(refused(folder()), path("p/empty") + ": this folder of a class has no pictures");
  put("grey.png", "top.png");
  EXPECT_STARTS(refused(folder()), folder() + ": has pictures and folders (\"a\")");
  EXPECT_STARTS(refused(path("p/a/1.png"), {}, "pictures"), path("p/a/1.png") + ": is a file");
  fs::create_directory(path("none"));
  EXPECT_EQ(refused(path("none"), {}, "pictures"),
            path("none") + ": has no pictures (*.png, *.jpg, *.jpeg)");
}

TEST_F(PicturesTest, ABrokenPictureLeavesNothing) {
  for (int i = 0; i < 5; ++i) put("grey.png", text("a/", i, ".png"));
  const std::string good = local_files().read(fixture("grey.png"));
  local_files().write_atomic(path("p/a/3.png"), good.substr(0, good.size() - 20));
  const auto source = open(folder());  // its header is there
  EXPECT_EQ(message_of([&] {
              write_shards(*source, {.output = path("out"), .name = "set", .shards = 5});
            }),
            path("p/a/3.png") + ": this PNG picture cannot be read: it is truncated");
  EXPECT_TRUE(fs::is_empty(path("out")));
  local_files().write_atomic(path("p/a/3.png"), "");
  EXPECT_EQ(refused(folder()),
            path("p/a/3.png") + ": is neither a PNG nor a JPEG picture: it is empty");
}

}  // namespace
}  // namespace lockstep
