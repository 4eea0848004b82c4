// The CSV importer: what becomes of each kind of column, and where it says a file is wrong.
#include "datasets/import/csv.h"

#include "core/base/file.h"
#include "datasets/describe.h"
#include "datasets/import/shard_writer.h"
#include "tests/datasets/shards.h"

namespace lockstep {
namespace {

// How the file is read, and how the shards are written.
struct Options : CsvOptions {
  ShardOptions shards;
};

class CsvTest : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory_.path(name); }

  void import(const Options& options) {
    const auto source = open_csv(options);
    files_ = write_shards(*source, options.shards).at(0).files;
    notes_ = source->notes();
  }

  // Options to import `content` as set "set" with the last column as label.
  Options of(const std::string& content) {
    local_files().write_atomic(path("in.csv"), content);
    Options options;
    options.file = path("in.csv");
    options.label = "-1";
    options.shards.output = path("out");
    options.shards.name = "set";
    options.shards.source = "in.csv";
    options.shards.overwrite = true;
    return options;
  }
  std::shared_ptr<const Dataset> imported(const Options& options) {
    import(options);
    return Dataset::open(path("out"));
  }
  template <typename Value>
  std::vector<Value> values(const Dataset& dataset, const std::string& array) {
    const Subset all = whole(std::shared_ptr<const Dataset>(&dataset, [](const Dataset*) {}));
    const auto elements = dataset.array(array).sample.elements();
    std::vector<Value> out(static_cast<std::size_t>(dataset.size() * elements));
    dataset.gather(dataset.find(array), all.ids, out.data());
    return out;
  }
  std::string refused(const Options& options) {
    return message_of([&] { import(options); });
  }

  TemporaryDirectory directory_;
  std::vector<std::string> files_, notes_;
};

using Floats = std::vector<float>;
using Numbers = std::vector<std::int32_t>;
using Words = std::vector<std::string>;

TEST_F(CsvTest, HeaderFeaturesAndTextClasses) {
  const auto dataset =
      imported(of("length,\"width, cm\",kind\n1.5,2,rose\n-3e1,+4,\"lily\"\n0,1,rose\n"));
  EXPECT_EQ(values<float>(*dataset, "x"), (Floats{1.5f, 2, -30, 4, 0, 1}));
  EXPECT_EQ(values<std::int32_t>(*dataset, "y"), (Numbers{1, 0, 1}));
  EXPECT_EQ(dataset->array("x").dtype, DType::kF32);
  EXPECT_EQ(dataset->array("y").dtype, DType::kI32);
  EXPECT_EQ(dataset->array("x").feature_names, (Words{"length", "width, cm"}));
  EXPECT_EQ(dataset->array("y").class_names, (Words{"lily", "rose"}));
  EXPECT_EQ(dataset->size(), 3);
  EXPECT_EQ(Hdf5File(files_.at(0)).text("", "source"), "in.csv");
}

TEST_F(CsvTest, DelimitersAndLineEndsAreFound) {
  for (const char* content :
       {"1,2,0\n3,4,1\n", "1\t2\t0\r\n3\t4\t1", "1;2;0\n\n3;4;1\n", "  1 2   0 \n3\t4  1\n",
        "\xEF\xBB\xBF"
        "1, 2 ,0\n3,\"4\" ,1\n"}) {
    const auto dataset = imported(of(content));
    EXPECT_EQ(values<float>(*dataset, "x"), (Floats{1, 2, 3, 4})) << content;
    EXPECT_EQ(values<std::int32_t>(*dataset, "y"), (Numbers{0, 1})) << content;
    EXPECT_TRUE(dataset->array("x").feature_names.empty());
  }
}

TEST_F(CsvTest, QuotesHoldDelimitersLinesAndQuotes) {
  Options options = of("a;b;kind\n1;2;\"x;\"\"y\"\"\n z\"\n3;4;plain\n");
  EXPECT_EQ(imported(options)->array("y").class_names, (Words{"plain", "x;\"y\"\n z"}));
}

TEST_F(CsvTest, LabelsByKind) {
  Options options = of("1,10\n2,30\n3,20\n");
  auto dataset = imported(options);  // whole numbers with gaps: numbers
  EXPECT_EQ(dataset->array("y").dtype, DType::kF32);
  EXPECT_EQ(values<float>(*dataset, "y"), (Floats{10, 30, 20}));
  options = of("1,9\n2,30\n3,9\n");
  options.label_kind = Options::Label::kClass;  // ascending as numbers, not as texts
  dataset = imported(options);
  EXPECT_EQ(values<std::int32_t>(*dataset, "y"), (Numbers{0, 1, 0}));
  EXPECT_EQ(dataset->array("y").class_names, (Words{"9", "30"}));
  options = of("1,0\n2,1\n3,0\n");
  options.label_kind = Options::Label::kNumber;
  EXPECT_EQ(imported(options)->array("y").dtype, DType::kF32);
  options = of("1,0\n2,1\n3,0\n");
  options.class_names = {"no", "yes", "perhaps"};
  dataset = imported(options);
  EXPECT_EQ(values<std::int32_t>(*dataset, "y"), (Numbers{0, 1, 0}));
  EXPECT_EQ(dataset->array("y").class_names, (Words{"no", "yes", "perhaps"}));
  options = of("1,yes\n2,no\n");
  options.class_names = {"no", "yes"};
  EXPECT_EQ(values<std::int32_t>(*imported(options), "y"), (Numbers{1, 0}));
}

TEST_F(CsvTest, TheLabelMayBeAnyColumnOrNone) {
  Options options = of("a,b,c\n0,5,6\n1,7,8\n");
  options.label = "a";
  EXPECT_EQ(values<float>(*imported(options), "x"), (Floats{5, 6, 7, 8}));
  EXPECT_EQ(imported(options)->array("x").feature_names, (Words{"b", "c"}));
  options.label = "1";
  EXPECT_EQ(values<float>(*imported(options), "x"), (Floats{0, 6, 1, 8}));
  options.label = "";
  const auto dataset = imported(options);
  EXPECT_EQ(values<float>(*dataset, "x"), (Floats{0, 5, 6, 1, 7, 8}));
  EXPECT_EQ(dataset->find_or_none("y"), -1);
}

TEST_F(CsvTest, ShardsSplitEvenlyAndReplaceTheOldSet) {
  std::string content;
  for (int i = 0; i < 11; ++i) content += std::to_string(i) + "," + std::to_string(i) + "\n";
  Options options = of(content);
  options.shards.shards = 3;
  options.shards.compress = 6;
  const auto dataset = imported(options);
  ASSERT_EQ(files_.size(), 3u);
  EXPECT_EQ(files_[1], path("out/set-00001-of-00003.h5"));
  for (const auto& [shard, rows] : {std::pair{0, 3}, {1, 4}, {2, 4}}) {
    EXPECT_EQ(Hdf5File(files_[static_cast<std::size_t>(shard)]).array("x").rows(), rows);
  }
  EXPECT_EQ(Hdf5File(files_[0]).array("x").filters, (Words{"shuffle", "gzip 6"}));
  EXPECT_EQ(values<float>(*dataset, "x"), (Floats{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
  options.shards.overwrite = false;
  EXPECT_EQ(refused(options),
            path("out/set-00000-of-00003.h5") +
                ": exists already; give another name or output, or allow overwriting");
  options.shards.overwrite = true;
  options.shards.shards = 2;
  import(options);
  EXPECT_EQ(list_files(path("out")), (Words{"set-00000-of-00002.h5", "set-00001-of-00002.h5"}));
}

TEST_F(CsvTest, TypesAndShapesOfSamples) {
  Options options = of("0,255,7,3,1\n1,2,3,4,0\n");
  options.dtype = DType::kU8;
  options.sample_shape = Shape{2, 2, 1};
  const auto dataset = imported(options);
  EXPECT_EQ(dataset->array("x").dtype, DType::kU8);
  EXPECT_EQ(dataset->array("x").sample, (Shape{2, 2, 1}));
  EXPECT_EQ(values<float>(*dataset, "x"), (Floats{0, 255, 7, 3, 1, 2, 3, 4}));
  options.sample_shape = Shape{3, 2};
  EXPECT_EQ(refused(options),
            path("in.csv") + ": 4 features do not make samples of (3, 2) (6 elements)");
  options = of("256,0\n1,1\n");
  options.dtype = DType::kU8;
  EXPECT_EQ(refused(options), path("in.csv") + ": record 0, feature 0: 256 does not fit into u8");
  options = of("1,0\n1.5,1\n");
  options.dtype = DType::kI16;
  EXPECT_EQ(refused(options), path("in.csv") + ": record 1, feature 0: 1.5 does not fit into i16");
}

TEST_F(CsvTest, MissingValues) {
  Options options = of("a,b,y\n1,NA,0\n3,5,1\n?,7,0\n");
  EXPECT_EQ(refused(options),
            path("in.csv") +
                ":2:3: the value in column \"b\" is missing; mend the file or let it "
                "be filled with the column's mean");
  options.missing = Options::Missing::kMean;
  EXPECT_EQ(values<float>(*imported(options), "x"), (Floats{1, 6, 3, 5, 2, 7}));
  EXPECT_EQ(notes_, Words{"2 missing values filled"});
  options = of("a,b,y\n1,,0\n2,nan,1\n");
  options.missing = Options::Missing::kMean;
  EXPECT_EQ(refused(options), path("in.csv") + ":2:3: every value of this column is missing");
  options = of("a,y\n1,0\n2,\n");
  options.missing = Options::Missing::kMean;
  EXPECT_EQ(refused(options), path("in.csv") + ":3:3: the label in column \"y\" is missing");
}

TEST_F(CsvTest, NamesLineAndColumnOfWhatIsWrong) {
  const std::string file = path("in.csv");
  EXPECT_EQ(refused(of("a,b,y\n1,2,0\n1,two,1\n")),
            file + ":3:3: \"two\" in column \"b\" is not a finite number");
  EXPECT_EQ(refused(of("1,2,0\n1,inf,1\n")),
            file + ":2:3: \"inf\" in column 1 is not a finite number");
  EXPECT_EQ(refused(of("a,b,y\n1,2,0\n1,2\n")), file + ":3: 2 fields, expected 3 as in line 1");
  Options options = of("a,b\n1,\"2\n3,4\n");
  options.delimiter = ',';
  EXPECT_EQ(refused(options), file + ":2:3: the quote that opens here is not closed");
  options = of("a,b\n\"1\"x,2\n");
  options.delimiter = ',';
  EXPECT_EQ(refused(options),
            file + ":2:4: text after a closing quote; expected a delimiter or the end of the line");
  EXPECT_EQ(refused(of("a,a,y\n1,2,0\n")), file + ":1:3: the header has \"a\" twice");
  EXPECT_EQ(refused(of("")), file + ": has no records");
  EXPECT_EQ(refused(of("a,y\n")), file + ": has a header but no records");
  EXPECT_EQ(refused(of("1\n2\n")), file + ": has no column besides the label");
  EXPECT_EQ(refused(of(std::string("1,2\n3\0,4\n", 9))),
            file + ": is not a text file (byte 5 is 0)");
  options = of("a,kind\n1,0\n");
  options.label = "kin";
  EXPECT_EQ(refused(options), file + ": no column \"kin\"; did you mean \"kind\"?");
  options.label = "2";
  EXPECT_EQ(
      refused(options),
      file + ": the label is column 2, but the file has 2 columns (0 .. 1, or -1 for the last)");
  options = of("1,2\n3,4\n");
  options.label = "y";
  EXPECT_EQ(refused(options),
            file + ": no column \"y\"; the file has no header: give the column's number");
  options = of("1,maybe\n");
  options.class_names = {"no", "yes"};
  EXPECT_EQ(refused(options), file +
                                  ":1:3: the label \"maybe\" is none of the named classes, nor a "
                                  "number in [0, 2)");
  options = of("1,a\n");
  options.label_kind = Options::Label::kNumber;
  options.header = Options::Header::kNo;
  EXPECT_EQ(refused(options), file + ":1:3: the label \"a\" is not a finite number");
  options = of("1,0\n");
  options.shards.shards = 2;
  EXPECT_EQ(refused(options), "in.csv: 1 samples do not fill 2 shards");
  EXPECT_FALSE(is_directory(path("out")));
}

TEST_F(CsvTest, SkipsLinesAndForcesHeaders) {
  Options options = of("569,30,malignant,benign\n1,2,0\n3,4,1\n");
  options.skip_lines = 1;
  EXPECT_EQ(imported(options)->size(), 2);
  options.header = Options::Header::kYes;
  EXPECT_EQ(imported(options)->array("x").feature_names, (Words{"1", "2"}));
}

TEST_F(CsvTest, OptionsOfTheFormat) {
  local_files().write_atomic(path("in.tsv"), "a\tb\ty\n1\t2\tno\n3\t4\tyes\n");
  const auto open = [&](std::map<std::string, std::string> given) {
    return open_source("auto", {{path("in.tsv")}, FormatOptions(std::move(given)), path("")});
  };
  EXPECT_EQ(open({{"label", "y"}})->arrays().size(), 2u);
  EXPECT_EQ(open({{"label", "y"}, {"classes", "yes,no"}, {"sample-shape", "1,2"}, {"dtype", "u8"}})
                ->arrays()[0]
                .sample,
            (Shape{1, 2}));
  const auto refused = [&](std::map<std::string, std::string> given) {
    return message_of([&] { open(std::move(given)); });
  };
  EXPECT_EQ(refused({}).find("--label is missing; name the column"), 0u);
  EXPECT_EQ(refused({{"label", "y"}, {"header", "maybe"}}),
            "--header expects one of auto, yes, no; found 'maybe'");
  EXPECT_EQ(refused({{"label", "y"}, {"missing", "zero"}}),
            "--missing expects one of error, mean; found 'zero'");
  EXPECT_EQ(refused({{"label", "y"}, {"delimiter", "ab"}}),
            "--delimiter expects one character, tab, space or auto; found 'ab'");
  EXPECT_EQ(refused({{"label", "y"}, {"classes", "a"}, {"regression", ""}}),
            "--classes and --regression exclude each other");
  EXPECT_EQ(refused({{"label", "y"}, {"skip-lines", "-1"}}).find("--skip-lines expects an integer"),
            0u);
  EXPECT_EQ(refused({{"label", "y"}, {"sample-shape", "2,0"}}),
            "--sample-shape: found '0', expected whole numbers above 0, as 8,8,1");
  EXPECT_EQ(message_of([&] {
              open_source("cvs", {{path("in.tsv")}, {}, path("")});
            }).find("--format: no format 'cvs'; did you mean 'csv'?"),
            0u);
  EXPECT_EQ(message_of([&] {
              open_source("auto", {{path("absent")}, {}, path("")});
            }),
            path("absent") + ": no such file or directory");
}

TEST_F(CsvTest, DescriptionShowsArraysClassesAndSamples) {
  Options options = of("length,width,kind\n1,2,rose\n3,4,lily\n5,6,rose\n");
  import(options);
  const std::string rows = describe_dataset({path("out")});
  for (const char* part : {"3 samples", "source: in.csv", "set-00000-of-00001.h5", "contiguous",
                           "length", "1 rose  2  ████████████████████████████████████████",
                           "0 lily  1  ████████████████████\n"}) {
    EXPECT_NE(rows.find(part), std::string::npos) << part << "\n" << rows;
  }
  options = of("0,16,16,0,3\n16,0,8,16,4\n");
  options.sample_shape = Shape{2, 2, 1};
  options.shards.compress = 1;
  import(options);
  const std::string images = describe_dataset({path("out")});
  for (const char* part : {"gzip 1", "sample 0, y = 3", "    ██", "▒▒██"}) {
    EXPECT_NE(images.find(part), std::string::npos) << part << "\n" << images;
  }
}

}  // namespace
}  // namespace lockstep
