"""The companion to "Pre-training with Synthetic Data Helps Offline Reinforcement Learning" (ICLR 2024).

Where the paper's parts are:

    paper                                              file
    ------------------------------------------------   ---------------------------------------------------------------
    3.1  Decision Transformer                          dt/model.py, dt/windows.py, dt/finetuning.py, dt/evaluation.py
    3.2  Markov chain data                             generators/markov_chain.py
    3.2  pre-training on tokens                        dt/pretraining.py
    3.3  Wikipedia, Table 1                            generators/text.py, dt/clusters.py
    3.4  ablations, Tables 2-5                         params/table2.yaml ... table5.yaml
    4.1  MDP data                                      generators/mdp.py
    4.1  forward dynamics pre-training                 cql/pretraining.py
    4.2  CQL, Tables 6-8                               cql/agent.py, cql/networks.py, params/table6.yaml ... table8.yaml
    A.3  normalised score, Table 17                    tasks.py
    A    hyperparameters, Tables 9, 10, 15, 16         the configuration classes of the files above
    A    costs, Tables 11-14                           report/statistics.py (updates), study/cost.py (time)
    H    similarity, Figure 12                         dt/similarity.py
    J    identity and mapping                          generators/mdp.py, dt/pretraining.py
    the printed numbers and claims                     paper/

A file ``x_fast.py`` computes what ``x.py`` beside it defines, in less time (kernels/twins.py chooses between the two).
Below the paper stand runs/ (the store of trainings), offline/ (data sets, physics), kernels/ (fast arithmetic) and
machine/; above it study/ (what is planned and run) and report/ (what is shown). replica/ made the embedded data and
bench/ measures speed; nothing imports these two.
"""
