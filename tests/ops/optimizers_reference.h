// Made by tests/references/optimizers.py with PyTorch; do not edit.
#pragma once

namespace lockstep::reference {

inline constexpr double kStart[] = {0.803276062,  0.174833387, 0.0889780968, -0.613718033,
                                    0.0461824499, -1.36825919, 0.337495089};
inline constexpr double kGradients[] = {1.01111591, -1.43517935,  0.977431774, 0.522049963,
                                        1.23791671, -0.864635587, 0.298960835};
inline constexpr double kSgd[] = {-0.207839817, 1.61001277,   -0.888453662, -1.13576806,
                                  -1.19173419,  -0.503623605, 0.0385342687};
inline constexpr double kMomentum[] = {-1.49561858, 3.35248017,  -2.08867693, -1.73386514,
                                       -2.70749664, 0.641847551, -0.348722577};
inline constexpr double kNesterov[] = {-2.24839711, 4.50638247, -2.86103225, -2.18932962,
                                       -3.69000363, 1.24131823, -0.564805806};
inline constexpr double kAdam[] = {0.30749172,   0.670617759,  -0.40680629, -1.10950232,
                                   -0.449601889, -0.872474849, -0.158289254};
inline constexpr double kAdamDecay[] = {0.299706489,  0.678080082,  -0.41435656, -1.11660731,
                                        -0.457125336, -0.864444017, -0.166253597};
inline constexpr double kAdamw[] = {0.304475904,  0.668752909,  -0.406257778, -1.10544729,
                                    -0.448839843, -0.866639674, -0.158980846};
inline constexpr double kRmsprop[] = {-3.09431219, 4.07242203, -3.8086102, -4.51130629,
                                      -3.85140586, 2.52932906, -3.56009293};
inline constexpr double kRmspropAll[] = {-1.54685104, 2.53360677,  -2.26596141, -2.97176147,
                                         -2.31065392, 0.975204945, -1.99287343};

}  // namespace lockstep::reference
