# A model that answers.
ftzard init workspace --task instruction_tuning --data rows.jsonl
python "$here/set_values.py" workspace example.yaml
ftzard run training_pipeline_job -w workspace
ftzard predict "Greet Ada 7 from Oslo." -w workspace
ftzard status -w workspace
