#include "core/passes/pipeline.h"

#include <algorithm>
#include <chrono>

#include "core/base/error.h"
#include "core/base/settings.h"

namespace lockstep {
namespace {

bool contains(const std::vector<std::string>& list, const std::string& name) {
  return std::ranges::find(list, name) != list.end();
}

void check_name(const std::string& name, const std::vector<Pass>& known, const char* option) {
  std::vector<std::string> names;
  for (const Pass& pass : known) names.push_back(pass.name);
  if (contains(names, name)) return;
  const std::string near = nearest_name(name, names);
  bad_input("--", option, " ", name, ": no such pass",
            near.empty() ? std::string() : text("; did you mean \"", near, "\"?"));
}

}  // namespace

void check_pipeline_options(const PipelineOptions& options, const std::vector<Pass>& known) {
  for (const std::string& name : options.print_after) {
    if (name != "all") check_name(name, known, "print-after");
  }
  for (const std::string& name : options.disabled) {
    check_name(name, known, "disable-pass");
    for (const Pass& pass : known) {
      check_input(pass.name != name || pass.optional, "--disable-pass ", name,
                  ": this pass cannot be left out");
    }
  }
}

Graph run_pipeline(Graph graph, const std::vector<Pass>& passes, const PipelineOptions& options,
                   std::vector<PassTime>* times) {
  for (const Pass& pass : passes) {
    if (pass.optional && contains(options.disabled, pass.name)) continue;
    const auto start = std::chrono::steady_clock::now();
    try {
      graph = pass.run(graph);
      graph.verify();
    } catch (const Error& error) {
      throw Error(error.kind(), text("pass ", pass.name, ": ", error.what()));
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (times != nullptr) times->push_back({pass.name, took.count()});
    if (contains(options.print_after, pass.name) || contains(options.print_after, "all")) {
      *options.print_to << "# after " << pass.name << "\n" << graph.to_string() << "\n";
    }
  }
  return graph;
}

}  // namespace lockstep
