// All that a C++ program needs to build, train and use a model:
//
//   #include <lockstep/launcher/lockstep.h>
#pragma once

#include "core/base/error.h"
#include "datasets/dataset.h"
#include "datasets/split.h"
#include "launcher/model.h"
#include "launcher/trainer.h"
#include "ops/layers/activation.h"
#include "ops/layers/batch_normalization.h"
#include "ops/layers/conv2d.h"
#include "ops/layers/dense.h"
#include "ops/layers/dropout.h"
#include "ops/layers/embedding.h"
#include "ops/layers/layer_normalization.h"
#include "ops/layers/merge.h"
#include "ops/layers/pooling.h"
#include "ops/layers/reduction.h"
#include "ops/layers/reshape.h"
