"""The companion to "Pre-training with Synthetic Data Helps Offline Reinforcement Learning" (ICLR 2024).

Which file holds which part of the paper:

    3.1  Decision Transformer                       dt/model.py, windows.py, finetuning.py, evaluation.py
    3.2  Markov chain data (Figure 7)               generators/markov_chain.py, information.py, report/chain_page.py
    3.2  pre-training on tokens                     dt/pretraining.py
    3.3  Wikipedia (Table 1)                        generators/text.py, dt/clusters.py
    3.4  ablations of the chain (Tables 2-5)        params/table2.yaml to table5.yaml
    4.1  MDP data                                   generators/mdp.py, information.py, report/mdp_page.py
    4.1  pre-training of the critics                cql/pretraining.py
    4.2  CQL (Tables 6-8)                           cql/agent.py, networks.py, params/table6.yaml to table8.yaml
    4.3  why IID data work                          generators/centroids.py, report/centroid_page.py
    A.1  hyperparameters of DT (Tables 9, 10)       dt/pretraining.py, model.py, finetuning.py, report/settings_page.py
    A.1  cost of DT (Tables 11, 12)                 report/statistics.py, cost_stages.py, cost_sentences.py
    A.2  hyperparameters of CQL (Tables 15, 16)     cql/pretraining.py, agent.py, report/settings_page.py
    A.2  cost of CQL (Tables 13, 14)                report/statistics.py, cost_stages.py
    A.3  normalised score (Table 17)                tasks.py
    B, C best scores, learning curves               report/statistics.py, curves.py, paper_figures.py
    E, I more fine-tuning (Tables 26, 28)           params/table26.yaml, table28.yaml
    F, J identity and mapping (Tables 27, 29)       dt/pretraining.py, generators/mdp.py
    G, K fewer updates (Figures 10, 16)             params/figure10.yaml, figure16.yaml
    G, K less fine-tuning data (Figures 11, 17)     params/figure11.yaml, figure17.yaml
    H    similarity of weights, features (Fig. 12)  dt/similarity.py
    what is printed, and what was really done       paper/, paper/faithfulness.md

A file ``x_fast.py`` computes what ``x.py`` beside it defines, in less time; kernels/twins.py chooses between the two.
Below the paper's parts stand offline/ (data sets, environments), runs/ (the store of trainings, the loop of one),
kernels/ (fast arithmetic) and machine/ (files, locks, devices). Above them stand study/ (what is planned and run) and
report/ (what is shown); web/ and book/ bring executed pages into a browser. replica/ made the embedded data, bench/
measures speed; nothing imports these two.
"""
