// The command line: what each command reads, and what it says to what it cannot read.
#include "launcher/options.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/launcher/message.h"

namespace lockstep {
namespace {

using Words = std::vector<std::string>;

template <typename Wanted>
Wanted parse(const Words& arguments) {
  return std::get<Wanted>(parse_command_line(arguments));
}

std::string message(const Words& arguments) {
  return refused([&] { parse_command_line(arguments); });
}

TEST(Options, TrainReadsAllOfItsOptions) {
  const auto command = parse<TrainCommand>(
      {"train", "examples/digits cnn.toml", "--run=out", "--set", "train.epochs=5", "--set",
       "layer.0.units=-3", "--device", "cpu", "--resume", "--quiet", "--print-after", "fuse",
       "--disable-pass", "layout", "--disable-pass", "fuse"});
  EXPECT_EQ(command.config, "examples/digits cnn.toml");
  EXPECT_EQ(command.run, "out");
  EXPECT_EQ(command.set, (Words{"train.epochs=5", "layer.0.units=-3"}));
  EXPECT_EQ(command.device, DeviceChoice::kCpu);
  EXPECT_TRUE(command.resume);
  EXPECT_FALSE(command.overwrite);
  EXPECT_TRUE(command.quiet);
  EXPECT_EQ(command.print_after, Words{"fuse"});
  EXPECT_EQ(command.disable_pass, (Words{"layout", "fuse"}));
}

TEST(Options, TrainNamesTheRunAfterTheConfiguration) {
  const auto command = parse<TrainCommand>({"train", "examples/digits-cnn.toml"});
  EXPECT_EQ(command.run, "runs/digits-cnn");
  EXPECT_EQ(command.device, DeviceChoice::kAuto);
  EXPECT_FALSE(command.resume || command.overwrite || command.quiet);
  EXPECT_TRUE(command.set.empty());
}

TEST(Options, OptionsMayStandBeforeTheArgument) {
  const auto command = parse<TrainCommand>({"train", "--set", "a=1", "c.toml", "--quiet"});
  EXPECT_EQ(command.config, "c.toml");
  EXPECT_EQ(command.set, Words{"a=1"});
}

TEST(Options, CheckpointCommands) {
  EXPECT_TRUE(parse<CheckpointListCommand>({"checkpoint", "list", "r", "--quick"}).quick);
  EXPECT_EQ(parse<CheckpointVerifyCommand>({"checkpoint", "verify", "r"}).checkpoint, "");
  EXPECT_EQ(parse<CheckpointDiffCommand>({"checkpoint", "diff", "a", "b"}).b, "b");
  const auto exported = parse<CheckpointExportCommand>({"checkpoint", "export", "r", "--output", "a.bin", "--format", "onnx"});
  EXPECT_EQ(exported.format, ExportFormat::kOnnx);
  EXPECT_EQ(exported.checkpoint, "newest");
  for (const auto& [file, format] : {std::pair("a.safetensors", ExportFormat::kSafetensors), std::pair("a.h5", ExportFormat::kHdf5),
                                     std::pair("a.hdf5", ExportFormat::kHdf5), std::pair("a.onnx", ExportFormat::kOnnx)}) {
    EXPECT_EQ(parse<CheckpointExportCommand>({"checkpoint", "export", "r", "--output", file}).format, format) << file;
  }
  const auto imported = parse<CheckpointImportCommand>({"checkpoint", "import", "w.h5", "--config", "c.toml", "--run", "r", "--set", "a=1"});
  EXPECT_EQ(imported.weights, "w.h5");
  EXPECT_EQ(imported.set, Words{"a=1"});
  EXPECT_EQ(parse<CheckpointAverageCommand>({"checkpoint", "average", "a", "b", "c", "--run", "r"}).sources, (Words{"a", "b", "c"}));
  EXPECT_EQ(message({"checkpoint"}), "checkpoint: expected 'list', 'verify', 'diff', 'export', 'import' or 'average' ('lockstep --help' lists all)");
  EXPECT_EQ(message({"checkpoint", "export", "r", "--output", "a.pt"}).find("checkpoint export: --output 'a.pt' ends in none of "), 0u);
  EXPECT_EQ(message({"checkpoint", "average", "a", "b"}).find("checkpoint average: expected one of --output FILE and --run DIR"), 0u);
  EXPECT_EQ(message({"checkpoint", "average", "a", "--run", "r", "--output", "o.h5"}).find("checkpoint average: expected one of "), 0u);
}

TEST(Options, EvaluateAndPredict) {
  const auto evaluate =
      parse<EvaluateCommand>({"evaluate", "runs/a", "--data", "digits", "--device", "cuda"});
  EXPECT_EQ(evaluate.run, "runs/a");
  EXPECT_EQ(evaluate.data, "digits");
  EXPECT_EQ(evaluate.device, DeviceChoice::kCuda);
  EXPECT_EQ(parse<EvaluateCommand>({"evaluate", "runs/a"}).data, "");

  const auto predict =
      parse<PredictCommand>({"predict", "runs/a", "--input", "x.h5", "--output", "y.h5"});
  EXPECT_EQ(predict.run, "runs/a");
  EXPECT_EQ(predict.input, "x.h5");
  EXPECT_EQ(predict.output, "y.h5");
}

TEST(Options, LaunchReadsWhatItStarts) {
  const auto command = parse<LaunchCommand>(
      {"launch", "-n", "4", "--hosts", "h1:2,h2:2", "--max-restarts=3", "--mca", "a=b", "--remote-shell",
       "ssh -p 22", "--", "train", "c.toml", "--set", "a=1", "--quiet"});
  EXPECT_EQ(command.workers, 4);
  EXPECT_EQ(command.target.hosts, "h1:2,h2:2");
  EXPECT_EQ(command.target.remote_shell, "ssh -p 22");
  EXPECT_EQ(command.target.mca, Words{"a=b"});
  EXPECT_EQ(command.max_restarts, 3);
  EXPECT_EQ(command.restart_window, 3600);
  EXPECT_EQ(command.run, "runs/c");
  EXPECT_EQ(command.command, (Words{"train", "c.toml", "--set", "a=1", "--quiet"}));
  EXPECT_TRUE(command.trains);
  EXPECT_FALSE(command.dry_run || command.verbose);
  const auto another = parse<LaunchCommand>(
      {"launch", "--max-restarts", "3", "--restart-window", "60", "--", "train", "c.toml", "--run", "here"});
  EXPECT_EQ(another.restart_window, 60);
  EXPECT_EQ(another.run, "here");
  const auto evaluate = parse<LaunchCommand>({"launch", "--", "evaluate", "runs/a"});
  EXPECT_EQ(evaluate.workers, 0);
  EXPECT_FALSE(evaluate.trains);
  EXPECT_EQ(evaluate.device, DeviceChoice::kAuto);
  EXPECT_FALSE(parse<LaunchCommand>({"launch", "--", "train", "c.toml", "--dry-run"}).trains);
  EXPECT_EQ(parse<LaunchCommand>({"launch", "--", "train", "c.toml", "--device", "cuda"}).device, DeviceChoice::kCuda);
  EXPECT_EQ(parse<LaunchCommand>({"launch", "--", "bench", "allreduce"}).device, DeviceChoice::kCpu);
  EXPECT_TRUE(parse<ShowText>({"launch", "--", "train", "--help"}).text.starts_with("usage: lockstep train"));
}

TEST(Options, LaunchRefusesWhatCannotBeStarted) {
  const std::string usage = " (usage: lockstep launch [options] -- train CONFIG [options of train])";
  EXPECT_EQ(message({"launch", "train", "c.toml"}), "launch: unexpected argument 'train'" + usage);
  EXPECT_EQ(message({"launch", "-n", "2"}), "launch: the command to start is missing after --" + usage);
  EXPECT_EQ(message({"launch", "-n", "2", "--"}), "launch: the command to start is missing after --" + usage);
  EXPECT_EQ(message({"launch", "-n", "0", "--", "train", "c"}),
            "launch: --workers expects an integer from 1 on, found '0'" + usage);
  EXPECT_EQ(message({"launch", "--hosts", "a", "--hostfile", "b", "--", "train", "c"}),
            "launch: --hosts and --hostfile exclude each other" + usage);
  EXPECT_EQ(message({"launch", "--mca", "abc", "--", "train", "c"}),
            "launch: --mca expects NAME=VALUE, found 'abc'" + usage);
  EXPECT_EQ(message({"launch", "--", "data", "info", "digits"}),
            "launch: 'data' is done by one process; started with several are train, evaluate and bench" + usage);
  EXPECT_EQ(message({"launch", "--max-restarts", "1", "--", "evaluate", "runs/a"}),
            "launch: --max-restarts is for trainings, which leave checkpoints" + usage);
  EXPECT_EQ(message({"launch", "--restart-window", "9", "--", "train", "c"}),
            "launch: --restart-window is of use with --max-restarts only" + usage);
  EXPECT_EQ(message({"launch", "--max-restarts", "1", "--restart-window", "0", "--", "train", "c"}),
            "launch: --restart-window expects an integer from 1 on, found '0'" + usage);
  // What stands behind is read as if it stood alone.
  EXPECT_EQ(message({"launch", "--", "trian", "c"}),
            "unknown command 'trian'; did you mean 'train'? ('lockstep --help' lists all)");
  EXPECT_NE(message({"launch", "--", "train", "c", "--quite"}).find("did you mean --quiet?"), std::string::npos);
}

TEST(Options, Doctor) {
  EXPECT_EQ(parse<DoctorCommand>({"doctor"}).target.hosts, "");
  EXPECT_EQ(parse<DoctorCommand>({"doctor", "--hostfile", "f"}).target.hostfile, "f");
  EXPECT_EQ(message({"doctor", "h1"}), "doctor: unexpected argument 'h1' (usage: lockstep doctor [options])");
  EXPECT_EQ(message({"doctor", "--hosts="}), "doctor: the argument for option '--hosts' should follow immediately "
                                             "after the equal sign (usage: lockstep doctor [options])");
}

TEST(Options, Plan) {
  const auto command = parse<PlanCommand>(
      {"plan", "c.toml", "--workers", "8", "--json", "--set", "train.global_batch=64"});
  EXPECT_EQ(command.config, "c.toml");
  EXPECT_EQ(command.workers, 8);
  EXPECT_TRUE(command.json);
  EXPECT_EQ(command.set, Words{"train.global_batch=64"});
  EXPECT_EQ(parse<PlanCommand>({"plan", "c.toml"}).workers, 0);
}

TEST(Options, Data) {
  EXPECT_EQ(parse<DataInspectCommand>({"data", "info", "digits"}).dataset, "digits");
  const auto command =
      parse<DataImportCommand>({"data", "import", "in/iris.csv", "--output", "out", "--label", "-1",
                                "--classes", "a,b,c", "--shards", "4", "--skip-lines", "2",
                                "--header", "no", "--delimiter", "tab", "--missing", "mean"});
  EXPECT_EQ(command.paths, Words{"in/iris.csv"});
  EXPECT_EQ(command.format, "auto");
  EXPECT_EQ(command.shards.output, "out");
  EXPECT_EQ(command.shards.name, "iris");
  EXPECT_EQ(command.shards.source, "iris.csv");
  EXPECT_EQ(command.shards.shards, 4);
  EXPECT_EQ(command.options.given(),
            (std::map<std::string, std::string>{{"label", "-1"},
                                                {"classes", "a,b,c"},
                                                {"skip-lines", "2"},
                                                {"header", "no"},
                                                {"delimiter", "tab"},
                                                {"missing", "mean"}}));

  const auto plain = parse<DataImportCommand>({"data", "import", "a.csv.gz", "b.csv", "--output=o",
                                               "--regression", "--format=csv"});
  EXPECT_EQ(plain.paths, (Words{"a.csv.gz", "b.csv"}));
  EXPECT_EQ(plain.format, "csv");
  EXPECT_EQ(plain.options.given(), (std::map<std::string, std::string>{{"regression", ""}}));
  EXPECT_EQ(plain.shards.name, "a");
  EXPECT_EQ(plain.shards.shards, 1);
  EXPECT_EQ(plain.shards.compress, 0);
  EXPECT_EQ(plain.shards.test_fraction, 0);
  EXPECT_FALSE(plain.shards.shuffle || plain.shards.stratify || plain.shards.overwrite);

  const auto split = parse<DataImportCommand>(
      {"data", "import", "pictures/", "--output=o", "--split=0.2", "--stratify", "--shuffle",
       "--seed=7", "--compress=4", "--overwrite", "--name=n", "--source=s"});
  EXPECT_EQ(split.shards.test_fraction, 0.2);
  EXPECT_EQ(split.shards.seed, 7u);
  EXPECT_EQ(split.shards.compress, 4);
  EXPECT_EQ(split.shards.name, "n");
  EXPECT_EQ(split.shards.source, "s");
  EXPECT_TRUE(split.shards.shuffle && split.shards.stratify && split.shards.overwrite);
  EXPECT_EQ(parse<DataImportCommand>({"data", "import", "pictures/", "--output=o"}).shards.name,
            "pictures");
}

TEST(Options, DataSynthesize) {
  const auto command = parse<DataSynthesizeCommand>(
      {"data", "synthesize", "spirals", "--output=o", "--samples=30", "--classes=3", "--seed=5"});
  EXPECT_EQ(command.kind, "spirals");
  EXPECT_EQ(command.request.samples, 30);
  EXPECT_EQ(command.request.seed, 5u);
  EXPECT_EQ(command.request.options.given(), (std::map<std::string, std::string>{{"classes", "3"}}));
  EXPECT_EQ(command.shards.name, "spirals");
  EXPECT_EQ(command.shards.seed, 5u);
}

TEST(Options, Report) {
  EXPECT_EQ(parse<ReportCommand>({"report", "runs/a"}).output, "");
  EXPECT_EQ(parse<ReportCommand>({"report", "runs/a", "--output", "r.html"}).output, "r.html");
}

TEST(Options, HelpOfEveryCommandNamesItsOptions) {
  const Words commands = {"train", "evaluate", "predict", "plan", "report"};
  const std::string program = parse<ShowText>({"--help"}).text;
  EXPECT_EQ(parse<ShowText>({}).text, program);
  for (const std::string& command : commands) {
    EXPECT_NE(program.find("lockstep " + command), std::string::npos) << command;
    const std::string help = parse<ShowText>({command, "--help"}).text;
    EXPECT_NE(help.find("usage: lockstep " + command), std::string::npos) << help;
    EXPECT_EQ(help.find("positional"), std::string::npos) << help;
  }
  EXPECT_NE(parse<ShowText>({"train", "--help"}).text.find("--disable-pass"), std::string::npos);
  EXPECT_NE(parse<ShowText>({"data", "import", "-h"}).text.find("--skip-lines"), std::string::npos);
  EXPECT_NE(parse<ShowText>({"data", "--help"}).text.find("data info"), std::string::npos);
}

TEST(Options, DataVerify) {
  const auto command = parse<DataVerifyCommand>({"data", "verify", "digits", "--target", "y", "--classes", "10"});
  EXPECT_EQ(command.dataset, "digits");
  EXPECT_EQ(command.target, "y");
  EXPECT_EQ(command.classes, 10);
  EXPECT_EQ(parse<DataVerifyCommand>({"data", "verify", "x.h5"}).target, "");
}

TEST(Options, HelpFitsTheScreen) {
  for (const Words& arguments : {Words{"--help"}, Words{"train", "--help"}, Words{"plan", "-h"},
                                 Words{"data", "import", "--help"}, Words{"data", "verify", "--help"},
                                 Words{"data", "synthesize", "--help"}}) {
    std::istringstream lines(parse<ShowText>(arguments).text);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
  }
}

TEST(Options, VersionIsOneLine) {
  EXPECT_TRUE(parse<ShowText>({"--version"}).text.starts_with("lockstep "));
}

TEST(Options, UnknownNamesComeWithTheNearestOne) {
  EXPECT_EQ(message({"trian", "c.toml"}),
            "unknown command 'trian'; did you mean 'train'? ('lockstep --help' lists all)");
  EXPECT_EQ(message({"data", "imprt"}),
            "data: unknown command 'imprt'; did you mean 'import'? ('lockstep --help' lists "
            "all)");
  EXPECT_EQ(message({"train", "c.toml", "--resum"}),
            "train: unknown option '--resum'; did you mean --resume? ('lockstep train "
            "--help' lists all)");
  EXPECT_EQ(message({"train", "c.toml", "--xyzxyzxyz"}),
            "train: unknown option '--xyzxyzxyz' ('lockstep train --help' lists all)");
}

struct Wrong {
  Words arguments;
  std::string part;  // of the message
};

TEST(Options, WrongUseIsRefused) {
  const std::vector<Wrong> cases = {
      {{"train"}, "train: CONFIG is missing (usage: lockstep train CONFIG"},
      {{"train", "a.toml", "b.toml"}, "unexpected argument 'b.toml'"},
      {{"train", "a.toml", "--device", "gpu"},
       "--device expects one of auto, cpu, cuda; found 'gpu'"},
      {{"train", "a.toml", "--resume", "--overwrite"}, "exclude each other"},
      {{"train", "a.toml", "--set"}, "--set"},
      {{"train", "a.toml", "--run", "a", "--run", "b"}, "--run"},
      {{"train", "a.toml", "--run="}, "--run"},
      {{"train", "a.toml", "--quiet=1"}, "--quiet"},
      {{"evaluate"}, "RUN is missing"},
      {{"predict", "r", "--output", "y"}, "--input is missing"},
      {{"predict", "r", "--input", "x"}, "--output is missing"},
      {{"plan", "c", "--workers", "0"}, "--workers expects an integer from 1 on, found '0'"},
      {{"plan", "c", "--workers", "2x"}, "found '2x'"},
      {{"plan", "c", "--workers", "99999999999999999999"}, "found '99999999999999999999'"},
      {{"data"}, "expected 'info', 'verify', 'import' or 'synthesize'"},
      {{"data", "info"}, "NAME|PATH is missing"},
      {{"data", "import", "a.csv", "--label", "y"}, "--output is missing"},
      {{"data", "synthesize", "--output", "o"}, "data synthesize: KIND is missing"},
      {{"data", "synthesize", "xor", "--output=o", "--samples=0"}, "from 1 on, found '0'"},
      {{"data", "synthesize", "xor", "--output=o", "--feature=3"}, "did you mean --features?"},
      {{"data", "import", "--output", "o"}, "data import: FILE is missing"},
      {{"data", "import", "a.csv", "--output=o", "--gzip=3"}, "unknown option '--gzip=3'"},
      {{"data", "import", "a.csv", "--output=o", "--compres=3"}, "did you mean --compress?"},
      {{"data", "import", "a.csv", "--output=o", "--lbel=y"}, "did you mean --label?"},
      {{"data", "import", "a.csv", "--output=o", "--compress=10"}, "from 0 to 9"},
      {{"data", "import", "a.csv", "--output=o", "--shards=0"}, "from 1 on, found '0'"},
      {{"data", "import", "a.csv", "--output=o", "--split=1"}, "between 0 and 1, found '1'"},
      {{"data", "import", "a.csv", "--output=o", "--split=x"}, "between 0 and 1, found 'x'"},
      {{"data", "import", "a.csv", "--output=o", "--stratify"}, "--stratify needs --split"},
  };
  for (const Wrong& wrong : cases) {
    const std::string found = message(wrong.arguments);
    EXPECT_NE(found.find(wrong.part), std::string::npos) << found << "\nexpected: " << wrong.part;
  }
}

}  // namespace
}  // namespace lockstep
