// `lockstep report`: reads a run directory and writes one HTML page that needs nothing else.
#pragma once

#include <string>

#include "launcher/report_page.h"

namespace lockstep {

// What the files of a run say; parts that a run does not have (yet) are empty. evaluation.json is
//   {"metrics": {"loss": 0.1, ...},
//    "classes": ["0", ...],                              of a classification
//    "confusion_matrix": [[n, ...], ...],                row = target, column = prediction
//    "roc": [[false_positive_rate, true_positive_rate], ...],
//    "regression": {"target": [...], "prediction": [...]},
//    "examples": [{"image": {"height": 8, "width": 8, "channels": 1, "pixels": [0..255, ...]},
//                  "features": [...], "target": "3", "prediction": "5", "confidence": 0.93}, ...]}
// where every key may be missing. Throws bad_input naming the file, and the line of log.jsonl, that
// cannot be read; a torn last line is what a killed run leaves, and is passed over.
ReportData read_report_data(const std::string& run_directory);

// Writes the page of a run to `output` (empty: report.html in the run directory); returns its path.
std::string write_report(const std::string& run_directory, const std::string& output = "");

}  // namespace lockstep
