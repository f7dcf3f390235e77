# A first model, a batch of new texts, labels for the rows that the model asks for, a challenger.
ftzard init workspace --data labelled.csv --text text --label label
python "$here/set_values.py" workspace example.yaml
ftzard run training_pipeline_job -w workspace
cp march.csv workspace/data/incoming/
ftzard run inference_pipeline_job -w workspace
python "$here/label.py" workspace answers.csv
ftzard run retraining_pipeline_job -w workspace
ftzard status -w workspace
